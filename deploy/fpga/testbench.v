// A model of the computer at the other end of the line: it sends images bit by bit, and compares
// each digit that comes back with the label in the circuit's vectors.
`timescale 1ns / 1ns
module testbench;
    parameter DIVIDER = 104;
    parameter TAKEN = 784, GIVEN = 10; // bytes of an image, logits
    localparam BIT = 10 * DIVIDER;
    reg clk = 0, rx = 1;
    wire tx;
    top #(.DIVIDER(DIVIDER), .PAUSE(14)) top (.clk(clk), .rx(rx), .tx(tx));
    always #5 clk = !clk;

    integer images = 2, file, image, n, wrong = 0, heard = 0;
    reg [8*256-1:0] name = "circuit/vectors.bin";
    reg [7:0] record[0:TAKEN + GIVEN];
    reg [7:0] answer[0:1];

    task send(input [7:0] data);
        integer place;
        begin
            rx = 0;
            #BIT;
            for (place = 0; place < 8; place = place + 1) begin
                rx = data[place];
                #BIT;
            end
            rx = 1;
            #BIT;
        end
    endtask

    integer place;
    always begin
        @(negedge tx);
        #(BIT + BIT / 2);
        for (place = 0; place < 8; place = place + 1) begin
            answer[heard % 2][place] = tx;
            #BIT;
        end
        if (!tx) wrong = wrong + 1; // no stop bit
        heard = heard + 1;
    end

    initial begin
        if ($value$plusargs("images=%d", images)) ;
        if ($value$plusargs("vectors=%s", name)) ;
        file = $fopen(name, "rb");
        #(40 * BIT);
        rx = 0;
        #(BIT / 4) rx = 1; // a glitch
        #(4 * BIT);
        for (n = 0; n < 5; n = n + 1) send(n); // an image that stops
        #(10 * 40_000);
        for (image = 0; image < images; image = image + 1) begin
            if ($fread(record, file) != TAKEN + GIVEN + 1) begin
                $display("FAILED: the file of vectors ends at image %0d", image);
                $finish;
            end
            for (n = 0; n < TAKEN; n = n + 1) send(record[n]);
            for (n = 0; n < 1000 && heard < 2 * image + 2; n = n + 1) #100_000;
            if (heard != 2 * image + 2 || answer[1] !== 8'h0a
                || answer[0] !== "0" + record[TAKEN + GIVEN]) wrong = wrong + 1;
        end
        if (wrong == 0) $display("PASSED: %0d images", images);
        else $display("FAILED: %0d answers of %0d images are wrong", wrong, images);
        $finish;
    end
endmodule
