"""A machine as one Verilog-2005 file."""

from __future__ import annotations

from edgegolf.backends.verilog.machine import Column, Machine, bits
from edgegolf.backends.verilog.plan import LOW


def verilog(machine: Machine, title: str) -> str:
    """The circuit: readable, synthesizable, without a primitive of any vendor."""
    return _Text(machine).file(title)


class _Text:
    """What depends on the machine, by name; a field is a constant where no steps differ in it."""

    def __init__(self, machine: Machine) -> None:
        self.m = machine
        columns = machine.columns
        self.pads = 1 in columns["is_padded"].entries
        self.adds = columns["adds"].entries.count(1) > 0
        self.has_tables = bool(machine.tables)
        self.pools = 1 in columns["is_maximum"].entries
        self.leaks = set(zip(columns["lowest"].entries, columns["least"].entries, strict=True)) != {
            (LOW, LOW)
        }
        self.saturates = self.adds and all(
            (first, second, constant, shift) == (1, 1, 0, 0)
            for first, second, constant, shift, adds in zip(
                *(columns[f"add_{name}"].entries for name in ("first", "second", "constant")),
                (machine.add_shift,) * len(machine.names), columns["adds"].entries, strict=True,
            )
            if adds
        )  # fmt: skip
        self.two_roundings = columns["add_positive"] != columns["add_negative"]
        self.depth = machine.depths[1] > 0

    def file(self, title: str) -> str:
        parts = [
            self.header(title), self.ports(), self.table(), self.control(), self.walk(),
            self.memories(), self.lanes(), self.scaling(), self.addition(), self.writing(),
            "endmodule\n",
        ]  # fmt: skip
        return "\n".join(part for part in parts if part)

    def header(self, title: str) -> str:
        m = self.m
        return f"""\
// {title}
//
// {m.macs:,} multiply-accumulates an image, {m.lanes} at a time: {m.cycles:,} cycles,
// with the {m.input_bytes} or more in which the image comes.
//
// Send the {m.input_bytes} bytes of an image, int8 in the order rows, columns, channels: a byte is
// taken at each rising edge of clk with in_valid and in_ready. The {m.logits} logits (int8) come one
// by one, each with out_valid for a cycle; done comes with the last one, and label, the first of
// the largest ones, is right from the next edge on until the next image ends. rst is synchronous.
"""

    def ports(self) -> str:
        label = bits(self.m.logits - 1)
        return f"""\
module circuit (
    input wire clk,
    input wire rst,
    input wire in_valid,
    output wire in_ready,
    input wire [7:0] in_data,
    output reg out_valid,
    output reg [7:0] out_data,
    output reg done,
    output reg [{label - 1}:0] label
);
"""

    def table(self) -> str:
        """The table of steps, registered; what never differs is a constant."""
        used = self.used()
        constants, varying = [], []
        for name in used:
            each = self.m.columns[name]
            if each.varies:
                varying.append((name, each))
            else:
                constants.append(
                    f"    localparam {_range(each)}{name.upper()} = {_number(each, 0)};"
                )
        width = sum(each.bits for _, each in varying)
        number = bits(len(self.m.names) - 1)
        lines = ["    // Each step of the network is a row of this table. Its fields, first to last:"]
        lines += _wrapped(f"{name} {each.bits}" for name, each in varying)
        lines += [f"    reg [{number - 1}:0] layer;", f"    reg [{width - 1}:0] row;"]
        lines += ["    always @(posedge clk)", "        case (layer)"]
        for index, label in enumerate(self.m.names):
            fields = ", ".join(_number(each, index) for _, each in varying)
            key = f"{number}'d{index}" if index < len(self.m.names) - 1 else "default"
            lines.append(f"            {key}: row <= {{{fields}}}; // {label}")
        lines.append("        endcase")
        place = width
        for name, each in varying:
            place -= each.bits
            bound = f"row[{place + each.bits - 1}:{place}]" if each.bits > 1 else f"row[{place}]"
            lines.append(f"    wire {_range(each)}{name} = {bound};")
        return "\n".join([*constants, *lines, ""])

    def used(self) -> list[str]:
        """The fields that the file reads."""
        names = [
            "is_input", "is_last", "repeats", "again", "turns", "last_input", "last_tap_x",
            "last_tap_y", "last_group", "last_x", "last_y", "last_channel", "at_source", "by_tap_x",
            "by_tap_y", "by_group", "by_x", "by_y", "is_full", "has_ones", "weights", "parameters",
            "alike", "low", "high", "at_target", "write_lane", "write_channels",
            "by_pixel_written",
        ]  # fmt: skip
        if self.has_lines:
            names += ["write_columns", "by_line_written"]
        if "multiplier" in self.m.columns:
            names += ["multiplier", "positive", "negative"]
            names += ["shift"] if len(self.m.shifts) > 1 else []
        if self.pads:
            names += [
                "first_x", "first_y", "columns_inside", "rows_inside", "x_tap", "x_back",
                "x_pixel", "x_line", "y_tap", "y_back", "y_line", "fill",
            ]  # fmt: skip
        if self.pools:
            names.append("is_maximum")
        if self.leaks:
            names += ["lowest", "least"]
        if self.depth:
            names += ["from_second", "to_second"]
        if self.adds:
            names += ["adds", "at_residual", "sum_low", "sum_high"]
            names += ["by_line_added"] if self.column("by_line_added").entries != (1,) * len(
                self.m.names) else []  # fmt: skip
            if not self.saturates:
                names += ["add_first", "add_second", "add_constant"]
                names += ["add_positive", "add_negative"] if self.two_roundings else []
        if self.has_tables:
            names += ["looks_up", "lookup"]
        return names

    def column(self, name: str) -> Column:
        return self.m.columns[name]

    @property
    def has_lines(self) -> bool:
        """Whether a row of pixels is written with a gap behind it."""
        return self.column("by_line_written") != self.column("by_pixel_written")

    def of(self, name: str) -> str:
        """How a field is called."""
        return name if self.column(name).varies else name.upper()

    def signed(self, name: str) -> str:
        """A field as a signed number."""
        return self.of(name) if self.column(name).signed else f"$signed({{1'b0, {self.of(name)}}})"

    def control(self) -> str:
        m, of = self.m, self.of
        number = bits(len(m.names) - 1)
        turns = self.column("turns").bits
        drain = bits(m.drain)
        loops = 1 in self.column("repeats").entries
        following = f"{of('is_last')} ? {number}'d0 : layer + {number}'d1"
        again = f"{of('repeats')} && turn != {of('turns')} ? {of('again')} : " if loops else ""
        count = f"""
                    if ({of("repeats")}) turn <= turn == {of("turns")} ? 0 : turn + 1'b1;\
""" if loops else ""  # fmt: skip
        turn = f"    reg [{turns - 1}:0] turn;\n" if loops else ""
        return f"""\
    // A step is fetched from the table, begun, run, and left when its last byte is written.
    localparam FETCH = 2'd0, BEGIN = 2'd1, RUN = 2'd2, LEAVE = 2'd3;
    localparam DRAIN = {drain}'d{m.drain};
    reg [1:0] state;
    reg [{drain - 1}:0] drained;
{turn}    wire begins = state == BEGIN;
    wire is_done, moves, accepts;
    assign in_ready = state == RUN && {of("is_input")};
    assign accepts = in_valid && in_ready;
    always @(posedge clk) begin
        drained <= state == LEAVE ? drained + 1'b1 : 0;
        case (state)
            FETCH: state <= BEGIN;
            BEGIN: state <= RUN;
            RUN: if (is_done) state <= LEAVE;
            LEAVE:
                if (drained == DRAIN) begin
                    state <= FETCH;
                    layer <= {again}{following};{count}
                end
        endcase
        if (rst) begin
            state <= FETCH;
            layer <= 0;
{"            turn <= 0;" if loops else ""}
        end
    end
"""

    def walk(self) -> str:
        """The six nested counts, and the address that follows them."""
        m, of = self.m, self.of
        levels = ("input", "tap_x", "tap_y", "group", "x", "y")
        width = {n: self.column(f"last_{n}").bits for n in levels}
        a = m.address_bits
        declared = "\n".join(f"    reg [{width[n] - 1}:0] at_{n};" for n in levels)
        ends, before = [], ""
        for n in levels:
            ends.append(f"    wire end_{n} = {before}at_{n} == {of(f'last_{n}')};")
            before = f"end_{n} && "
        counts = "\n".join(
            f"            {'' if not i else f'if (end_{levels[i - 1]}) '}"
            f"at_{n} <= end_{n} ? {width[n]}'d0 : at_{n} + 1'b1;"
            for i, n in enumerate(levels)
        )
        zeros = "\n".join(f"            at_{n} <= 0;" for n in levels)
        lane = bits(m.lanes - 1)
        wraps = f"lane == {lane}'d{m.lanes - 1}"
        stall = f"""
    // The channels of a group are scaled one by one: the next group ends no earlier.
    reg [{lane - 1}:0] busy;
    always @(posedge clk)
        if (begins) busy <= 0;
        else if (moves && end_tap_y) busy <= {lane}'d{m.lanes - 1};
        else if (busy != 0) busy <= busy - 1'b1;
""" if m.stalls else ""  # fmt: skip
        waits = " && !(end_tap_y && busy != 0)" if stall else ""
        c = max(
            bits(max(self.column("columns_inside").entries + self.column("rows_inside").entries)),
            *(self.column(n).bits for n in ("first_x", "first_y", "x_line", "y_line", "x_back")),
            *(self.column(n).bits for n in ("y_back", "x_pixel", "x_tap", "y_tap")),
        ) + 1  # fmt: skip
        padding = f"""
    // Where that is in the image; outside of it the step sees a constant.
    reg signed [{c - 1}:0] seen_x, seen_y;
    always @(posedge clk)
        if (begins) begin
            seen_x <= {self.signed("first_x")};
            seen_y <= {self.signed("first_y")};
        end else if (moves && end_input) begin
            seen_x <= seen_x + (!end_tap_x ? {self.signed("x_tap")} : !end_group ? {self.signed("x_back")}
                : !end_x ? {self.signed("x_pixel")} : {self.signed("x_line")});
            if (end_tap_x)
                seen_y <= seen_y + (!end_tap_y ? {self.signed("y_tap")} : !end_x ? {self.signed("y_back")}
                    : {self.signed("y_line")});
        end
    wire is_inside = seen_x >= 0 && seen_x < {self.signed("columns_inside")}
        && seen_y >= 0 && seen_y < {self.signed("rows_inside")};
""" if self.pads else ""  # fmt: skip
        return f"""\
    // The walk: for every pixel and group of channels, over the window and the source's channels.
{declared}
{chr(10).join(ends)}
    assign moves = state == RUN && ({of("is_input")} ? in_valid : 1'b1{waits});
    assign is_done = moves && end_y;
    reg [{a - 1}:0] address;
    reg [{lane - 1}:0] lane;
    wire lane_wraps = {wraps if m.lanes > 1 else "1'b1"};
    always @(posedge clk)
        if (begins) begin
{zeros}
            address <= {of("at_source")};
            lane <= 0;
        end else if (moves) begin
{counts}
            lane <= end_input || lane_wraps ? {lane}'d0 : lane + 1'b1;
            address <= address + (!end_input ? lane_wraps : !end_tap_x ? {of("by_tap_x")}
                : !end_tap_y ? {of("by_tap_y")} : !end_group ? {of("by_group")}
                : !end_x ? {of("by_x")} : {of("by_y")});
        end
{stall}{padding}"""

    def memories(self) -> str:
        m, of = self.m, self.of
        a, word = m.address_bits, 8 * m.lanes
        w = bits(len(m.weights) - 1)
        rows = len(m.parameters["bias"].entries)
        p = bits(rows - 1)
        fields = " ".join(f"{name} {each.bits}" for name, each in m.parameters.items())
        row = sum(each.bits for each in m.parameters.values())
        second = f"""\
    wire [{a - 1}:0] read_first = {of("from_second")} ? residual_address : address;
    wire [{a - 1}:0] read_second = {of("from_second")} ? address : residual_address;
    wire [{word - 1}:0] first_word, second_word;
    wire [{word - 1}:0] source_word = {of("from_second")} ? second_word : first_word;
    wire [{word - 1}:0] residual_word = {of("from_second")} ? first_word : second_word;
""" if self.depth else f"""\
    wire [{a - 1}:0] read_first = address;
    wire [{word - 1}:0] first_word;
    wire [{word - 1}:0] source_word = first_word;
"""  # fmt: skip
        to_first = f"!{of('to_second')}" if self.depth else "1'b1"
        bank = self.bank("first", m.depths[0], to_first)
        bank += self.bank("second", m.depths[1], of("to_second")) if self.depth else ""
        return f"""\
    // Two memories for images, of {m.depths[0]} and {m.depths[1]} words, a byte for each lane.
    wire [{a - 1}:0] residual_address;
    reg [{a - 1}:0] write_word;
    reg [{bits(m.lanes - 1) - 1}:0] write_at;
    wire writes;
    wire [7:0] written;
{second}    genvar i;
    generate
        for (i = 0; i < {m.lanes}; i = i + 1) begin : bank
{bank}        end
    endgenerate

    // The weights, a word for all lanes in the order in which they are used.
    reg [{word - 1}:0] weight_memory[0:{len(m.weights) - 1}];
    initial $readmemh("weights.hex", weight_memory);
    reg [{w - 1}:0] weight_address;
    reg [{word - 1}:0] weight_word;
    always @(posedge clk) begin
        weight_word <= weight_memory[weight_address];
        if (begins) weight_address <= {of("weights")};
        else if (moves && !{of("has_ones")})
            weight_address <= end_group ? {of("weights")} : weight_address + 1'b1;
    end

    // What each channel takes: {fields}.
    reg [{row - 1}:0] parameter_memory[0:{rows - 1}];
    initial $readmemh("parameters.hex", parameter_memory);
    reg [{p - 1}:0] parameter_address;
    reg [{row - 1}:0] parameter_word;
    always @(posedge clk) parameter_word <= parameter_memory[parameter_address];
"""

    def bank(self, name: str, depth: int, enable: str) -> str:
        lane = bits(self.m.lanes - 1)
        where = f" && write_at == i" if self.m.lanes > 1 else ""
        return f"""\
            reg [7:0] {name}_memory[0:{depth - 1}];
            reg [7:0] {name}_byte;
            always @(posedge clk) begin
                if (writes && {enable}{where}) {name}_memory[write_word] <= written;
                {name}_byte <= {name}_memory[read_{name}];
            end
            assign {name}_word[8*i +: 8] = {name}_byte;
"""

    def lanes(self) -> str:
        m, of = self.m, self.of
        lane, s = bits(m.lanes - 1), m.sum_bits
        full = self.column("is_full")
        one = "source_word[8*lane_1 +: 8]" if m.lanes > 1 else "source_word"
        own = "source_word[8*i +: 8]"
        byte = own if not any(full.entries) else one if all(full.entries) else \
            f"{of('is_full')} ? chosen : {own}"  # fmt: skip
        if 1 in full.entries:
            byte = byte.replace(one, "chosen")
        seen = f"(inside_1 ? byte_1 : {of('fill')})" if self.pads else "byte_1"
        maximum = f"{of('is_maximum')} ? (product > sum ? product : sum) : " if self.pools else ""
        return f"""\
    // The lanes: a product a cycle, three cycles behind the walk.
    reg [3:0] valid, starts, takes;
    reg [{lane - 1}:0] lane_1;
{"    reg inside_1;" if self.pads else ""}
    wire starts_now = at_input == 0 && at_tap_x == 0 && at_tap_y == 0;
    always @(posedge clk) begin
        valid <= {{valid[2:0], moves && !{of("is_input")}}};
        starts <= {{starts[2:0], starts_now}};
        takes <= {{takes[2:0], moves && end_tap_y && !{of("is_input")}}};
        lane_1 <= lane;
{"        inside_1 <= is_inside;" if self.pads else ""}
        if (rst) takes <= 0;
    end
    wire [7:0] chosen = {one};
    wire [{m.lanes * s - 1}:0] sums;
    generate
        for (i = 0; i < {m.lanes}; i = i + 1) begin : mac
            wire signed [7:0] byte_0 = {byte};
            wire signed [7:0] byte_1 = {self.leak("byte_0")};
            reg signed [7:0] x, weight;
            reg signed [15:0] product;
            reg signed [{s - 1}:0] sum;
            always @(posedge clk) begin
                x <= {seen};
                weight <= weight_word[8*i +: 8];
                product <= x * weight;
                if (valid[2]) sum <= starts[2] ? product : {maximum}sum + product;
            end
            assign sums[{s}*i +: {s}] = sum;
        end
    endgenerate
"""

    def leak(self, byte: str) -> str:
        """What a byte is seen as: at least a number, but for the smallest."""
        if not self.leaks:
            return byte
        least, lowest = self.column("least"), self.column("lowest")
        below = f"{byte} < {self.of('least')}"
        if set(least.entries) <= {0, LOW}:  # the sign tells
            flag = "1'b1" if not least.varies else f"!{self.of('least')}[7]"
            below = f"({flag} && {byte}[7])"
        seen = f"({below} ? {self.of('least')} : {byte})"
        if lowest == least:
            return seen
        return f"({byte} == -8'sd128 ? {self.of('lowest')} : {seen})"

    def scaling(self) -> str:
        m, of = self.m, self.of
        lane, s, t, w = bits(m.lanes - 1), m.sum_bits, m.total_bits, m.scaled_bits
        channel = self.column("last_channel").bits
        unpacked, place = [], sum(each.bits for each in m.parameters.values())
        for name, each in m.parameters.items():
            place -= each.bits
            sign = "signed " if each.signed else ""
            unpacked.append(
                f"    wire {sign}[{each.bits - 1}:0] {name}_0 = "
                f"parameter_word[{place + each.bits - 1}:{place}];"
            )
        per_channel = "multiplier" in m.parameters
        delays = ""
        if per_channel:
            late = []
            for name, stages in (("multiplier", 1), ("positive", 2), ("negative", 2), ("shift", 3)):
                each = m.parameters[name]
                sign = "signed " if each.signed else ""
                names = [f"{name}_{n + 1}" for n in range(stages)]
                late.append(f"    reg {sign}[{each.bits - 1}:0] {', '.join(names)};")
                late += [
                    f"    always @(posedge clk) {name}_{n + 1} <= {name}_{n};"
                    for n in range(stages)
                ]
            delays = "\n".join(late) + "\n"
        get = (lambda name, n: f"{name}_{n}") if per_channel else (lambda name, n: of(name))
        columns = m.parameters if per_channel else m.columns

        def number(name: str, n: int) -> str:
            each = get(name, n)
            return each if columns[name].signed else f"$signed({{1'b0, {each}}})"

        shifted = f"scaled >>> {m.shifts[-1]}"
        for index, shift in reversed(list(enumerate(m.shifts[:-1]))):
            each = columns["shift"].bits
            shifted = f"{get('shift', 3)} == {each}'d{index} ? scaled >>> {shift} : {shifted}"
        count = f"""\
    reg [{lane - 1}:0] left;
    always @(posedge clk)
        if (rst) left <= 0;
        else if (takes[3]) left <= ends_pixel ? 0 : {lane}'d{m.lanes - 1};
        else if (left != 0) left <= ends_pixel ? 0 : left - 1'b1;
""" if m.lanes > 1 else ""  # fmt: skip
        rounding = number("positive", 2)
        if columns["positive"] != columns["negative"]:
            rounding = f"(is_negative ? {number('negative', 2)} : {rounding})"
        return f"""\
    // The sums of a group wait in a queue, and are scaled one by one.
    reg [{m.lanes * s - 1}:0] queue;
    always @(posedge clk) queue <= takes[3] ? sums : queue >> {s};
    reg [{channel - 1}:0] channel;
    wire ends_pixel = channel == {of("last_channel")};
{count}    wire goes = takes[3]{" || left != 0" if m.lanes > 1 else ""};
    always @(posedge clk)
        if (begins) begin
            channel <= 0;
            parameter_address <= {of("parameters")};
        end else if (goes) begin
            channel <= ends_pixel ? 0 : channel + 1'b1;
            if (!{of("alike")})
                parameter_address <= ends_pixel ? {of("parameters")} : parameter_address + 1'b1;
        end
    reg [9:0] passes, ends; // whether a byte is in each of the stages, and ends its pixel
    always @(posedge clk) begin
        passes <= {{passes[8:0], goes}};
        ends <= {{ends[8:0], ends_pixel}};
        if (rst) passes <= 0;
    end
{chr(10).join(unpacked)}
{delays}    wire signed [{s - 1}:0] oldest = queue[{s - 1}:0];
    reg signed [{t - 1}:0] total;
    reg signed [{w - 1}:0] scaled_0, scaled;
    reg is_negative;
    wire signed [{w - 1}:0] shifted = {shifted};
    reg signed [7:0] result;
    always @(posedge clk) begin
        total <= oldest + {"bias_0" if m.parameters["bias"].signed else "$signed({1'b0, bias_0})"};
        scaled_0 <= total * {number("multiplier", 1)};
        is_negative <= total[{t - 1}];
        scaled <= scaled_0 + {rounding};
        result <= shifted > {self.signed("high")} ? {of("high")} : shifted < {self.signed("low")} ? {of("low")} : shifted[7:0];
    end
"""

    def addition(self) -> str:
        m, of = self.m, self.of
        if not self.adds:
            return "    wire signed [7:0] summed = result;\n    localparam SUMMED = 4;\n"
        lane = bits(m.lanes - 1)
        byte = "residual_word[8*added_lane_1 +: 8]" if m.lanes > 1 else "residual_word"
        wraps = f"added_lane == {lane}'d{m.lanes - 1}" if m.lanes > 1 else "1'b1"
        varies = "by_line_added" in self.used()
        x = self.column("last_x").bits
        lines = f"""\
    reg [{x - 1}:0] added_x;
    wire added_ends = added_x == {of("last_x")};
    always @(posedge clk)
        if (begins) added_x <= 0;
        else if (passes[3] && ends[3]) added_x <= added_ends ? 0 : added_x + 1'b1;
""" if varies else ""  # fmt: skip
        on = f"ends[3] && added_ends ? {of('by_line_added')} : ends[3] || {wraps}" if varies else \
            f"(ends[3] || {wraps})"  # fmt: skip
        read = f"""\
    // What is added is read as it is needed, from the memory that the source is not in.
    reg [{m.address_bits - 1}:0] added_word;
    reg [{lane - 1}:0] added_lane, added_lane_1;
    assign residual_address = added_word;
{lines}    always @(posedge clk) begin
        added_lane_1 <= added_lane;
        if (begins) begin
            added_word <= {of("at_residual")};
            added_lane <= 0;
        end else if (passes[3]) begin
            added_word <= added_word + ({on});
            added_lane <= ends[3] || {wraps} ? {lane}'d0 : added_lane + 1'b1;
        end
    end
    wire signed [7:0] added = {byte};
"""
        clamp = "{value} > {high} ? {h} : {value} < {low} ? {l} : {value}[7:0]".format
        limits = {
            "high": self.signed("sum_high"), "h": of("sum_high"), "low": self.signed("sum_low"),
            "l": of("sum_low"),
        }  # fmt: skip
        if self.saturates:
            return f"""\
{read}    wire signed [8:0] sum_of_both = result + added;
    reg signed [7:0] summed;
    always @(posedge clk)
        summed <= !{of("adds")} ? result : {clamp(value="sum_of_both", **limits)};
    localparam SUMMED = 5;
"""
        w = m.add_bits
        rounding = f"(weighed[{w - 1}] ? {self.signed('add_negative')} : {self.signed('add_positive')})"
        rounded = f"weighed + {rounding}" if self.two_roundings else "weighed"
        return f"""\
{read}    reg signed [{w - 1}:0] weighed_first, weighed_second, weighed, rounded;
    reg signed [7:0] result_1, result_2, result_3, summed;
    wire signed [{w - 1}:0] sum_of_both = rounded >>> {m.add_shift};
    always @(posedge clk) begin
        weighed_first <= added * {self.signed("add_first")} + {self.signed("add_constant")};
        weighed_second <= result * {self.signed("add_second")};
        weighed <= weighed_first + weighed_second;
        rounded <= {rounded};
        result_1 <= result;
        result_2 <= result_1;
        result_3 <= result_2;
        summed <= !{of("adds")} ? result_3 : {clamp(value="sum_of_both", **limits)};
    end
    localparam SUMMED = 8;
"""

    def writing(self) -> str:
        m, of = self.m, self.of
        lane, a = bits(m.lanes - 1), m.address_bits
        channels = self.column("write_channels").bits
        last = "SUMMED + 1" if self.has_tables else "SUMMED"
        table = f"""\
    // Functions of a byte: 256 entries each, from -128 on.
    reg [7:0] table_memory[0:{256 * len(m.tables) - 1}];
    initial $readmemh("tables.hex", table_memory);
    reg [7:0] looked_up, kept;
    always @(posedge clk) begin
        looked_up <= table_memory[{f"{{{of('lookup')}, " if len(m.tables) > 1 else "{"}~summed[7], summed[6:0]}}];
        kept <= summed;
    end
    wire signed [7:0] outcome = {of("looks_up")} ? looked_up : kept;
""" if self.has_tables else "    wire signed [7:0] outcome = summed;\n"  # fmt: skip
        c = self.column("write_columns").bits
        lines = f"""\
    reg [{c - 1}:0] write_column;
    wire line_ends = write_column == {of("write_columns")};
    always @(posedge clk)
        if (begins) write_column <= 0;
        else if (writes && pixel_ends) write_column <= line_ends ? 0 : write_column + 1'b1;
""" if self.has_lines else ""  # fmt: skip
        gap = f"line_ends ? {of('by_line_written')} : " if self.has_lines else ""
        wraps = f"write_at == {lane}'d{m.lanes - 1}" if m.lanes > 1 else "1'b1"
        label = bits(m.logits - 1)
        return f"""\
{table}
    // Bytes are written one by one, as pixels of as many channels as their readers want.
    localparam LAST = {last};
    assign writes = passes[LAST] || accepts;
    assign written = accepts ? in_data : outcome;
    reg [{channels - 1}:0] write_channel;
    wire pixel_ends = write_channel == {of("write_channels")};
{lines}    always @(posedge clk)
        if (begins) begin
            write_word <= {of("at_target")};
            write_at <= {of("write_lane")};
            write_channel <= 0;
        end else if (writes) begin
            write_channel <= pixel_ends ? 0 : write_channel + 1'b1;
            write_at <= pixel_ends ? {of("write_lane")} : {wraps} ? {lane}'d0 : write_at + 1'b1;
            write_word <= write_word + (pixel_ends ? {gap}{of("by_pixel_written")} : {wraps});
        end

    // The last step gives the logits.
    reg signed [7:0] best;
    reg [{label - 1}:0] index;
    wire gives = passes[LAST] && {of("is_last")};
    always @(posedge clk) begin
        out_valid <= gives && !rst;
        out_data <= outcome;
        done <= gives && ends[LAST] && !rst;
        if (begins) index <= 0;
        else if (gives) index <= index + 1'b1;
        if (gives && (index == 0 || outcome > best)) begin
            best <= outcome;
            label <= index;
        end
    end
"""


def _range(each: Column) -> str:
    sign = "signed " if each.signed else ""
    return f"{sign}[{each.bits - 1}:0] " if each.bits > 1 or each.signed else ""


def _number(each: Column, index: int) -> str:
    return f"{each.bits}'d{each.entries[index] & ((1 << each.bits) - 1)}"


def _wrapped(words: object) -> list[str]:
    import textwrap

    text = ", ".join(words)  # type: ignore[arg-type]
    return textwrap.wrap(text + ".", 96, initial_indent="    // ", subsequent_indent="    // ")
