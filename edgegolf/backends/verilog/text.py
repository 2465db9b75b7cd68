"""A machine as one Verilog-2005 file."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from math import ceil

from edgegolf.backends.verilog.machine import Column, Machine, bits
from edgegolf.backends.verilog.plan import HIGH, LOW

#: Of weights as logic: a product of a weight is a sum of four digits of it, each from -2 to 2.
_DIGITS = """\
    // A digit of a weight, told by two bits and the one below them, times x; a digit below zero
    // gives one less, which is added later.
    function signed [8:0] digit(input [2:0] told, input signed [7:0] x);
        case (told)
            3'b000, 3'b111: digit = {9{told[2]}};
            3'b011, 3'b100: digit = {9{told[2]}} ^ {x, 1'b0};
            default: digit = {9{told[2]}} ^ {x[7], x};
        endcase
    endfunction
"""
_PARTS = """\
            wire signed [8:0] one = digit({weight[1:0], 1'b0}, x), four = digit(weight[3:1], x);
            wire signed [8:0] more = digit(weight[5:3], x), most = digit(weight[7:5], x);
            wire signed [11:0] low = $signed({four, 1'b0, weight[1]}) + one;
            wire signed [11:0] high = $signed({most, 1'b0, weight[5]}) + more;
"""
#: Lanes beyond which the bytes of a word take a cycle more to choose among.
WIDE = 16
_SPRAM = """
// A memory of 16,384 words of two bytes, of which each cycle reads or writes one: an SPRAM of a
// UP5K. A cycle that writes gives nothing.
module single_port (
    input wire clk,
    input wire [13:0] address,
    input wire [1:0] writes,
    input wire [15:0] written,
`ifdef SYNTHESIS
    output wire [15:0] read
);
    SB_SPRAM256KA memory (
        .CLOCK(clk), .ADDRESS(address), .DATAIN(written), .DATAOUT(read), .WREN(|writes),
        .MASKWREN({{2{writes[1]}}, {2{writes[0]}}}), .CHIPSELECT(1'b1), .STANDBY(1'b0),
        .SLEEP(1'b0), .POWEROFF(1'b1)
    );
`else
    output reg [15:0] read
);
    reg [15:0] memory[0:16383];
    always @(posedge clk)
        if (writes == 0) read <= memory[address];
        else begin
            read <= 16'hx;
            if (writes[0]) memory[address][7:0] <= written[7:0];
            if (writes[1]) memory[address][15:8] <= written[15:8];
        end
`endif
endmodule
"""


def verilog(machine: Machine, title: str, weights: str = "rom") -> str:
    """The circuit: readable, synthesizable, without a primitive of any vendor."""
    return _Text(machine, weights).file(title)


class _Text:
    """What depends on the machine, by name; a field is a constant where no steps differ in it."""

    def __init__(self, machine: Machine, weights: str) -> None:
        self.m = machine
        self.is_wired = weights == "logic"
        # Yosys makes logic of it where it would take a block RAM.
        self.constants = '(* ram_style = "logic" *) ' if self.is_wired else ""
        columns = machine.columns
        self.pads = 1 in columns["is_padded"].entries
        self.adds = 1 in columns["adds"].entries
        self.has_tables = bool(machine.tables)
        self.pools = 1 in columns["is_maximum"].entries
        self.leaks = set(zip(columns["lowest"].entries, columns["least"].entries, strict=True)) != {
            (LOW, LOW)
        }
        how = [columns[f"add{n}"].entries for n in ("s", "_first", "_second", "_constant")]
        ways = {way[1:] for way in zip(*how, strict=True) if way[0]}
        self.saturates = ways == {(1, 1, 0)} and machine.add_shift == 0
        self.two_roundings = columns["add_positive"] != columns["add_negative"]
        self.depth = machine.depths[1] > 0

    def file(self, title: str) -> str:
        parts = (self.control, self.walk, self.memories, self.lanes, self.scaling, self.addition,
                 self.writing)  # fmt: skip
        body = "\n".join(part() for part in parts)
        head = self.header(title), self.ports(), self.table(body)
        return "\n".join((*head, body, "endmodule\n")) + (_SPRAM if self.m.sprams else "")

    def header(self, title: str) -> str:
        m = self.m
        return f"""\
// {title}
//
// {m.macs:,} multiply-accumulates an image, {m.lanes} at a time: {m.cycles:,} cycles,
// with the {m.input_bytes} or more in which the image comes.
//
// Send the {m.input_bytes} bytes of an image, int8 by rows, columns, channels: a byte is taken
// at each rising edge of clk with in_valid and in_ready. The {m.logits} logits (int8) come one
// by one, each with out_valid for a cycle; done comes with the last one, and label, the first of
// the largest ones, is right from the next edge on until the next image ends. rst is
// synchronous.
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

    def table(self, body: str) -> str:
        """The table of the fields that a text reads, registered; what never differs is constant."""
        words = set(re.findall(r"\w+", body))
        varying = [(n, each) for n, each in self.m.columns.items() if each.varies and n in words]
        constants = [
            f"    localparam {_range(each)}{name.upper()} = {_number(each, 0)};"
            for name, each in self.m.columns.items()
            if not each.varies and name.upper() in words
        ]
        width = sum(each.bits for _, each in varying)
        number = bits(len(self.m.names) - 1)
        lines = [
            "    // Each step of the network is a row of this table. Its fields, first to last:"
        ]
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
        lanes = f"    localparam [{bits(self.m.lanes - 1) - 1}:0] LAST_LANE = {self.m.lanes - 1};"
        return "\n".join([*constants, lanes, *lines, ""])

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
        m, of, signed = self.m, self.of, self.signed
        levels = ("input", "tap_x", "tap_y", "group", "x", "y")
        width = {n: self.column(f"last_{n}").bits for n in levels}
        declared = "".join(f"    reg [{width[n] - 1}:0] left_{n};\n" for n in levels)
        flags = "".join(
            f"    wire end_{n} = {f'end_{before} && ' if before else ''}none_{n};\n"
            for before, n in zip(("", *levels), levels, strict=False)
        )
        first = "".join(
            f"            left_{n} <= {of(f'last_{n}')};\n"
            f"            none_{n} <= {of(f'last_{n}')} == 0;\n"
            for n in levels
        )
        counts = "".join(
            f"                {f'if (end_{before}) ' if before else ''}begin\n"
            f"                    left_{n} <= none_{n} ? {of(f'last_{n}')} : left_{n} - 1'b1;\n"
            f"                    none_{n} <= none_{n} ? {of(f'last_{n}')} == 0 : left_{n} == 1;\n"
            f"                end\n"
            for before, n in zip(("", *levels), levels, strict=False)
        )
        lane = bits(m.lanes - 1)
        stall, waits = "", ""
        apart = "LAST_LANE" if m.spacing == m.lanes else f"{m.spacing - 1}"
        if m.stalls:
            waits = " && !(end_tap_y && busy != 0)"
            stall = f"""
    // The channels of a group are scaled one by one: the next group ends no earlier.
    reg [{bits(m.spacing - 1) - 1}:0] busy;
    always @(posedge clk)
        if (begins) busy <= 0;
        else if (moves && end_tap_y) busy <= {apart};
        else if (busy != 0) busy <= busy - 1'b1;
"""
        if m.sprams:  # a word cannot be read in the cycle that writes one
            same = f"{of('from_second')} == {of('to_second')}" if self.depth else "1'b1"
            waits += f" && !(passes[{self.last - 1}] && {same})"
        padding = ""
        if self.pads:
            names = ("first_x", "first_y", "x_line", "y_line", "x_back", "y_back", "x_pixel",
                     "x_tap", "y_tap", "columns_inside", "rows_inside")  # fmt: skip
            c = max(self.column(name).bits for name in names) + 1
            padding = f"""
    // Where that is in the image; outside of it the step sees a constant.
    reg signed [{c - 1}:0] seen_x, seen_y, by_seen_x, by_seen_y;
    always @(posedge clk)
        if (begins) begin
            seen_x <= {signed("first_x")};
            seen_y <= {signed("first_y")};
        end else if (moved) begin
            seen_x <= seen_x + by_seen_x;
            seen_y <= seen_y + by_seen_y;
        end
    always @(posedge clk) begin
        by_seen_x <= !end_input ? 0 : !end_tap_x ? {signed("x_tap")}
            : !end_group ? {signed("x_back")} : !end_x ? {signed("x_pixel")} : {signed("x_line")};
        by_seen_y <= !end_tap_x ? 0 : !end_tap_y ? {signed("y_tap")}
            : !end_x ? {signed("y_back")} : {signed("y_line")};
    end
    wire is_inside = seen_x >= 0 && seen_x < {signed("columns_inside")}
        && seen_y >= 0 && seen_y < {signed("rows_inside")};
"""
        return f"""\
    // The walk: for every pixel and group of channels, over the window and the source's channels.
{declared}    reg {", ".join(f"none_{n}" for n in levels)}; // whether none is left
{flags}    assign moves = state == RUN && ({of("is_input")} ? in_valid : 1'b1{waits});
    assign is_done = moves && end_y;
    reg [{m.address_bits - 1}:0] address, by; // a cycle behind the counts
    reg moved;
    reg [{lane - 1}:0] lane;
    wire lane_wraps = lane == LAST_LANE;
    always @(posedge clk)
        if (begins) begin
{first}            address <= {of("at_source")};
            lane <= 0;
        end else begin
            if (moves) begin
{counts}                lane <= end_input || lane_wraps ? 0 : lane + 1'b1;
            end
            if (moved) address <= address + by;
        end
    always @(posedge clk) begin
        moved <= moves;
        by <= !end_input ? lane_wraps : !end_tap_x ? {of("by_tap_x")}
            : !end_tap_y ? {of("by_tap_y")} : !end_group ? {of("by_group")}
            : !end_x ? {of("by_x")} : {of("by_y")};
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
    reg [{word - 1}:0] source_word;
    always @(posedge clk) source_word <= {of("from_second")} ? second_word : first_word;
    wire [{word - 1}:0] residual_word = {of("from_second")} ? first_word : second_word;
""" if self.depth else f"""\
    wire [{a - 1}:0] read_first = address;
    wire [{word - 1}:0] first_word;
    reg [{word - 1}:0] source_word;
    always @(posedge clk) source_word <= first_word;
"""  # fmt: skip
        to_first = f"!{of('to_second')}" if self.depth else "1'b1"
        memories = {"first": (m.depths[0], to_first)}
        if self.depth:
            memories["second"] = m.depths[1], of("to_second")
        banks, bank = m.lanes, "".join(self.bank(name, *each) for name, each in memories.items())
        if m.sprams:
            banks, bank = ceil(m.lanes / 2), "".join(map(self.single_port, memories))
            second += "".join(self.kept(name, to) for name, (_, to) in memories.items())
        return f"""\
    // Two memories for images, of {m.depths[0]} and {m.depths[1]} words, a byte for each lane.
    wire [{a - 1}:0] residual_address;
    reg [{a - 1}:0] write_word;
    reg [{bits(m.lanes - 1) - 1}:0] write_at;
    wire writes;
    wire [7:0] written;
{second}    genvar i;
    generate
        for (i = 0; i < {banks}; i = i + 1) begin : bank
{bank}        end
    endgenerate

    // The weights, a word for all lanes in the order in which they are used.
    {self.constants}reg [{word - 1}:0] weight_memory[0:{len(m.weights) - 1}];
    initial $readmemh("weights.hex", weight_memory);
    reg [{w - 1}:0] weight_address;
    reg [{word - 1}:0] weight_word;
    reg [2:0] moved_on;
    always @(posedge clk) begin
        moved_on <= {{moved_on[1:0], end_group}};
        weight_word <= weight_memory[weight_address];
        if (begins) weight_address <= {of("weights")};
        else if (valid[2] && !{of("has_ones")})
            weight_address <= moved_on[2] ? {of("weights")} : weight_address + 1'b1;
    end

    // What each channel takes: {fields}.
    {self.constants}reg [{row - 1}:0] parameter_memory[0:{rows - 1}];
    initial $readmemh("parameters.hex", parameter_memory);
    reg [{p - 1}:0] parameter_address;
    reg [{row - 1}:0] parameter_word;
    always @(posedge clk) parameter_word <= parameter_memory[parameter_address];
"""

    def bank(self, name: str, depth: int, enable: str) -> str:
        return f"""\
            reg [7:0] {name}_memory[0:{depth - 1}];
            reg [7:0] {name}_byte;
            always @(posedge clk) begin
                if (writes && {enable} && write_at == i) {name}_memory[write_word] <= written;
                {name}_byte <= {name}_memory[read_{name}];
            end
            assign {name}_word[8*i +: 8] = {name}_byte;
"""

    def single_port(self, name: str) -> str:
        unused = 14 - self.m.address_bits
        above = f"{unused}'d0, " if unused else ""
        return f"""\
            single_port {name}_memory (
                .clk(clk), .address({{{above}{name}_writes ? write_word : read_{name}}}),
                .writes({{2{{{name}_writes}}}} & {{write_at == 2*i + 1, write_at == 2*i}}),
                .written({{written, written}}), .read({name}_bytes[16*i +: 16])
            );
"""

    def kept(self, name: str, enable: str) -> str:
        """The last word that was read of a memory which gives nothing while it is written."""
        word = 8 * self.m.lanes
        return f"""\
    wire {name}_writes = writes && {enable};
    wire [{16 * ceil(self.m.lanes / 2) - 1}:0] {name}_bytes;
    reg {name}_wrote;
    reg [{word - 1}:0] {name}_kept;
    assign {name}_word = {name}_wrote ? {name}_kept : {name}_bytes[{word - 1}:0];
    always @(posedge clk) begin
        {name}_wrote <= {name}_writes;
        {name}_kept <= {name}_word;
    end
"""

    def lanes(self) -> str:
        m, of = self.m, self.of
        lane, s = bits(m.lanes - 1), m.sum_bits
        full = self.column("is_full")
        own = "source_word[8*i +: 8]"
        byte = "chosen" if full.entries.count(1) == len(full.entries) else own
        if full.varies:
            byte = f"{of('is_full')} ? chosen : {own}"
        seen = f"was_inside[2] ? leaked : {of('fill')}" if self.pads else "leaked"
        maximum = ""
        if self.pools:
            maximum = f"{of('is_maximum')} ? (product > sum ? product : sum) : "
        inside = "        was_inside <= {was_inside[1:0], is_inside};\n" if self.pads else ""
        product, digits, parts = "x * weight", "", ""
        if self.is_wired:
            product = "low + (high <<< 4) + $signed({1'b0, weight[7], 3'b0, weight[3], 2'b0})"
            digits, parts = _DIGITS, _PARTS
        return f"""\
{digits}    // The lanes: a product a cycle, six cycles behind the walk.
    reg [5:0] valid, starts;
    reg [6:0] takes;
    reg [{lane - 1}:0] lane_1, lane_2, lane_3;
{"    reg [2:0] was_inside;" if self.pads else ""}
    reg starts_group;
    always @(posedge clk) begin
        if (begins) starts_group <= 1'b1;
        else if (moves) starts_group <= end_tap_y;
        valid <= {{valid[4:0], moves && !{of("is_input")}}};
        starts <= {{starts[4:0], starts_group}};
        takes <= {{takes[5:0], moves && end_tap_y && !{of("is_input")}}};
        lane_1 <= lane;
        lane_2 <= lane_1;
        lane_3 <= lane_2;
{inside}        if (rst) takes <= 0;
    end
    wire [7:0] chosen = source_word[8*lane_3 +: 8];
    wire [{m.lanes * s - 1}:0] sums;
    generate
        for (i = 0; i < {m.lanes}; i = i + 1) begin : mac
            reg signed [7:0] source, x, weight;
            wire signed [7:0] leaked = {self.leak("source")};
            reg signed [15:0] product;
            reg signed [{s - 1}:0] sum;
{parts}            always @(posedge clk) begin
                source <= {byte};
                x <= {seen};
                weight <= weight_word[8*i +: 8];
                product <= {product};
                if (valid[5]) sum <= starts[5] ? product : {maximum}sum + product;
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

    @property
    def limits_early(self) -> bool:
        """Whether results have limits of their own."""
        return self.are_limits("low", "high")

    @property
    def limits_sums(self) -> bool:
        """Whether sums have."""
        return self.are_limits("sum_low", "sum_high")

    def are_limits(self, low: str, high: str) -> bool:
        return {*self.column(low).entries, *self.column(high).entries} != {LOW, HIGH}

    def limited(self, byte: str, low: str, high: str) -> str:
        low, high = self.of(low), self.of(high)
        return f"{byte} > {high} ? {high} : {byte} < {low} ? {low} : {byte}"

    @property
    def result(self) -> int:
        """The stage of the scaled results."""
        return 7 + self.limits_early

    def scaling(self) -> str:
        m, of = self.m, self.of
        lane, s, t, w = bits(m.lanes - 1), m.sum_bits, m.total_bits, m.scaled_bits
        channel = self.column("last_channel").bits
        per_channel = "multiplier" in m.parameters
        columns = m.parameters if per_channel else m.columns

        def number(name: str, stage: int) -> str:
            each = f"{name}_{stage}" if per_channel else of(name)
            return each if columns[name].signed else f"$signed({{1'b0, {each}}})"

        factor = columns["multiplier"].bits
        parts, products, inner = [], [], []
        outer: list[str] = []
        for low in range(0, t, 16):
            for begin in range(0, factor, 16):
                name = f"part_{low}_{begin}"
                high, end = min(low + 16, t), min(begin + 16, factor)
                # Those that do not overlap come a cycle later, when the others are added already.
                late = low == begin
                one = f"{'total_1' if late else 'total'}[{high - 1}:{low}]"
                one = f"$signed({one})" if high == t else f"$signed({{1'b0, {one}}})"
                other = f"multiplier_{1 + late}" if per_channel else of("multiplier")
                other = f"{other}[{end - 1}:{begin}]"
                parts.append(f"    reg signed [{high - low + end - begin}:0] {name};\n")
                products.append(f"        {name} <= {one} * $signed({{1'b0, {other}}});\n")
                if late:  # all but the highest have 32 bits
                    outer = [name, *(f"{each}[31:0]" for each in outer[:1]), *outer[1:]]
                else:
                    inner.append(f"({name} <<< {low + begin - 16})")
        shift = f"shift_5 == {columns['shift'].bits}" if per_channel else \
            f"{of('shift')} == {columns['shift'].bits}"  # fmt: skip
        shifted = f"scaled >>> {m.shifts[-1]}"
        for index, places in reversed(list(enumerate(m.shifts[:-1]))):
            shifted = f"{shift}'d{index} ? scaled >>> {places} : {shifted}"
        rounding = number("positive", 4)
        if columns["positive"] != columns["negative"]:
            rounding = f"(below[2] ? {number('negative', 4)} : {rounding})"
        n = max(9, w - m.shifts[0])
        limited = f"""\
    reg signed [7:0] result;
    always @(posedge clk) result <= {self.limited("saturated", "low", "high")};
""" if self.limits_early else "    wire signed [7:0] result = saturated;\n"  # fmt: skip
        return f"""\
    // The sums of a group wait in a queue, and are scaled one by one.
    reg [{m.lanes * s - 1}:0] queue;
    always @(posedge clk) queue <= takes[6] ? sums : queue >> {s};
    reg [{channel - 1}:0] channel;
    wire ends_pixel = channel == {of("last_channel")};
    reg [{lane - 1}:0] left;
    always @(posedge clk)
        if (rst) left <= 0;
        else if (takes[6]) left <= ends_pixel ? 0 : LAST_LANE;
        else if (left != 0) left <= ends_pixel ? 0 : left - 1'b1;
    wire goes = takes[6] || left != 0;
    always @(posedge clk)
        if (begins) begin
            channel <= 0;
            parameter_address <= {of("parameters")};
        end else if (goes) begin
            channel <= ends_pixel ? 0 : channel + 1'b1;
            if (!{of("alike")})
                parameter_address <= ends_pixel ? {of("parameters")} : parameter_address + 1'b1;
        end
    reg [{self.last + 1}:0] passes, ends; // whether a byte is in each stage, and ends its pixel
    always @(posedge clk) begin
        passes <= {{passes[{self.last}:0], goes}};
        ends <= {{ends[{self.last}:0], ends_pixel}};
        if (rst) passes <= 0;
    end
{self.unpacked()}    wire signed [{s - 1}:0] oldest = queue[{s - 1}:0];
    reg signed [{t - 1}:0] total, total_1;
{"".join(parts)}    reg signed [{w - 1}:0] inner, whole, scaled;
    wire signed [{w - 1}:0] outer = $signed({{{", ".join(outer)}}});
    reg [2:0] below; // whether the sum is below zero
    reg signed [{n - 1}:0] shifted;
    reg signed [7:0] saturated;
    always @(posedge clk) begin
        total <= oldest + {"bias_0" if m.parameters["bias"].signed else "$signed({1'b0, bias_0})"};
        total_1 <= total;
{"".join(products)}        below <= {{below[1:0], total[{t - 1}]}};
        inner <= {" + ".join(inner) or 0};
        whole <= outer + (inner <<< 16);
        scaled <= whole + {rounding};
        shifted <= {shifted};
        saturated <= {_saturated("shifted", n)};
    end
{limited}"""

    def unpacked(self) -> str:
        """The parameters of a channel, each delayed to where it is needed."""
        lines, place = [], sum(each.bits for each in self.m.parameters.values())
        stages = {"bias": 0, "multiplier": 2, "positive": 4, "negative": 4, "shift": 5}
        for name, each in self.m.parameters.items():
            sign = "signed " if each.signed else ""
            place -= each.bits
            lines.append(
                f"    wire {sign}[{each.bits - 1}:0] {name}_0 = "
                f"parameter_word[{place + each.bits - 1}:{place}];\n"
            )
            for stage in range(stages[name]):
                lines.append(f"    reg {sign}[{each.bits - 1}:0] {name}_{stage + 1};\n")
                lines.append(f"    always @(posedge clk) {name}_{stage + 1} <= {name}_{stage};\n")
        return "".join(lines)

    @property
    def summed(self) -> int:
        """The stage of what was added."""
        if not self.adds:
            return self.result
        return self.result + (2 if self.saturates else 4) + self.limits_sums

    @property
    def last(self) -> int:
        """The stage of the bytes that are written."""
        return self.summed + self.has_tables

    def addition(self) -> str:
        m, of = self.m, self.of
        if not self.adds:
            return "    wire signed [7:0] summed = result;\n"
        # The choice among many bytes takes a cycle of its own.
        is_wide = m.lanes > WIDE
        lane, reads = bits(m.lanes - 1), self.result - 2 - is_wide
        chosen = "residual_word[8*added_lane_1 +: 8]"
        early = chosen_from = ""
        if is_wide:
            chosen = "kept_word[8*added_lane_2 +: 8]"
            chosen_from = f"    reg [{8 * m.lanes - 1}:0] kept_word;\n"
            chosen_from += f"    reg [{lane - 1}:0] added_lane_2;\n"
            early = "        kept_word <= residual_word;\n        added_lane_2 <= added_lane_1;\n"
        lines, on = "", "added_wraps"
        if set(self.column("by_line_added").entries) != {1}:
            x = self.column("last_x").bits
            on = f"ends[{reads}] && line_ends_added ? {of('by_line_added')} : {on}"
            lines = f"""\
    reg [{x - 1}:0] added_x;
    wire line_ends_added = added_x == {of("last_x")};
    always @(posedge clk)
        if (begins) added_x <= 0;
        else if (passes[{reads}] && ends[{reads}]) added_x <= line_ends_added ? 0 : added_x + 1'b1;
"""
        read = f"""\
    // What is added is read as it is needed, from the memory that the source is not in.
    reg [{m.address_bits - 1}:0] added_word;
    reg [{lane - 1}:0] added_lane, added_lane_1;
    wire added_wraps = ends[{reads}] || added_lane == LAST_LANE;
    reg signed [7:0] added;
{chosen_from}    assign residual_address = added_word;
{lines}    always @(posedge clk) begin
        added_lane_1 <= added_lane;
{early}        added <= {chosen};
        if (begins) begin
            added_word <= {of("at_residual")};
            added_lane <= 0;
        end else if (passes[{reads}]) begin
            added_word <= added_word + ({on});
            added_lane <= added_wraps ? 0 : added_lane + 1'b1;
        end
    end
"""
        limited = f"""\
    reg signed [7:0] summed;
    always @(posedge clk) summed <= {self.limited("total_of_both", "sum_low", "sum_high")};
""" if self.limits_sums else "    wire signed [7:0] summed = total_of_both;\n"  # fmt: skip
        if self.saturates:
            return f"""\
{read}    reg signed [8:0] sum_of_both;
    reg signed [7:0] result_1, total_of_both;
    always @(posedge clk) begin
        sum_of_both <= result + added;
        result_1 <= result;
        total_of_both <= !{of("adds")} ? result_1 : {_saturated("sum_of_both", 9)};
    end
{limited}"""
        w = max(9, m.add_bits)
        negative, positive = self.signed("add_negative"), self.signed("add_positive")
        rounded = f" + (weighed[{w - 1}] ? {negative} : {positive})" if self.two_roundings else ""
        return f"""\
{read}    reg signed [{w - 1}:0] weighed_first, weighed_second, weighed, rounded;
    reg signed [7:0] result_1, result_2, result_3, total_of_both;
    wire signed [{w - 1}:0] sum_of_both = rounded >>> {m.add_shift};
    always @(posedge clk) begin
        weighed_first <= added * {self.signed("add_first")} + {self.signed("add_constant")};
        weighed_second <= result * {self.signed("add_second")};
        weighed <= weighed_first + weighed_second;
        rounded <= weighed{rounded};
        result_1 <= result;
        result_2 <= result_1;
        result_3 <= result_2;
        total_of_both <= !{of("adds")} ? result_3 : {_saturated("sum_of_both", w)};
    end
{limited}"""

    def writing(self) -> str:
        m, of = self.m, self.of
        channels = self.column("write_channels").bits
        which = f"{of('lookup')}, " if len(m.tables) > 1 else ""
        table = f"""\
    // Functions of a byte: 256 entries each, from -128 on.
    reg [7:0] table_memory[0:{256 * len(m.tables) - 1}];
    initial $readmemh("tables.hex", table_memory);
    reg [7:0] looked_up, kept;
    always @(posedge clk) begin
        looked_up <= table_memory[{{{which}~summed[7], summed[6:0]}}];
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
        wraps = "write_at == LAST_LANE"
        label = bits(m.logits - 1)
        return f"""\
{table}
    // Bytes are written one by one, as pixels of as many channels as their readers want.
    assign writes = passes[{self.last}] || accepts;
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
            write_at <= pixel_ends ? {of("write_lane")} : {wraps} ? 0 : write_at + 1'b1;
            write_word <= write_word + (pixel_ends ? {gap}{of("by_pixel_written")} : {wraps});
        end

    // The last step gives the logits.
    reg signed [7:0] best;
    reg [{label - 1}:0] index;
    wire gives = passes[{self.last}] && {of("is_last")};
    always @(posedge clk) begin
        out_valid <= gives && !rst;
        out_data <= outcome;
        done <= gives && index == {m.logits - 1} && !rst;
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


def _saturated(name: str, width: int) -> str:
    upper, sign = f"{name}[{width - 1}:7]", f"{name}[{width - 1}]"
    return f"{upper} == 0 || &{upper} ? {name}[7:0] : {{{sign}, {{7{{!{sign}}}}}}}"


def _wrapped(words: Iterable[str]) -> list[str]:
    return textwrap.wrap(
        ", ".join(words) + ".", 96, initial_indent="    // ", subsequent_indent="    // "
    )
