// A net behind a serial line: the bytes of an image in; its digit and a line feed out.
//
// 8 data bits, no parity, 1 stop bit. An image that stops in the middle is forgotten after a
// pause, so that what is sent next begins at its first byte.
module top #(
    parameter DIVIDER = 104, // cycles of a bit: 12 MHz / 115,200
    parameter PAUSE = 22 // an image is forgotten after 2^PAUSE cycles without a byte
) (
    input wire clk,
    input wire rx,
    output wire tx
);
    localparam W = $clog2(DIVIDER);

    reg [3:0] begun = 0; // registers of these chips are 0 at first
    wire is_late;
    wire rst = !(&begun) || is_late;
    always @(posedge clk) if (!(&begun)) begin
        begun <= begun + 1'b1;
    end

    // Bytes come in: each bit is looked at in its middle.
    reg [1:0] line = 0;
    reg [3:0] bits_in = 0; // still to come, with those of start and stop
    reg [W-1:0] wait_in = 0;
    reg [7:0] byte_in = 0;
    reg has_byte = 0;
    always @(posedge clk) begin
        line <= {line[0], rx};
        has_byte <= 0;
        if (bits_in == 0) begin
            if (!line[1] && (&begun)) bits_in <= 10;
            wait_in <= DIVIDER / 2 - 1;
        end else if (wait_in != 0) wait_in <= wait_in - 1'b1;
        else begin
            wait_in <= DIVIDER - 1;
            bits_in <= bits_in == 10 && line[1] ? 0 : bits_in - 1'b1; // a glitch starts nothing
            if (bits_in == 1) has_byte <= line[1];
            else if (bits_in != 10) byte_in <= {line[1], byte_in[7:1]};
        end
    end

    // A byte waits until the net takes it.
    reg is_held = 0;
    reg [7:0] held = 0;
    wire in_ready, done;
    wire [3:0] label;
    always @(posedge clk) begin
        if (has_byte) held <= byte_in;
        is_held <= !rst && (has_byte || (is_held && !in_ready));
    end
    circuit circuit (
        .clk(clk), .rst(rst), .in_valid(is_held), .in_ready(in_ready), .in_data(held),
        .out_valid(), .out_data(), .done(done), .label(label)
    );

    reg [PAUSE:0] quiet = 0; // cycles without a byte within an image
    reg is_within = 0;
    assign is_late = quiet[PAUSE];
    always @(posedge clk) begin
        if (rst || done) is_within <= 0;
        else if (is_held && in_ready) is_within <= 1;
        if (rst || !is_within || !in_ready || is_held) quiet <= 0;
        else quiet <= quiet + 1'b1;
    end

    // The answer goes out: two bytes between their start and stop bits, the lowest bit first.
    reg is_done = 0; // the label is right a cycle after the last logit
    reg [19:0] out = 0; // inverted: an idle line is high
    reg [4:0] bits_out = 0;
    reg [W-1:0] wait_out = 0;
    assign tx = !out[0];
    always @(posedge clk) begin
        is_done <= done;
        if (is_done) begin
            out <= ~{1'b1, 8'h0a, 1'b0, 1'b1, 4'h3, label, 1'b0};
            bits_out <= 20;
            wait_out <= DIVIDER - 1;
        end else if (bits_out != 0) begin
            wait_out <= wait_out == 0 ? DIVIDER - 1 : wait_out - 1'b1;
            if (wait_out == 0) begin
                out <= out >> 1;
                bits_out <= bits_out - 1'b1;
            end
        end
    end
endmodule
