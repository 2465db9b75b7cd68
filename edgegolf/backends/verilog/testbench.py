"""A testbench that checks itself: images in, every logit and label compared."""

from __future__ import annotations

import numpy as np

from edgegolf.backends.verilog.machine import Machine, bits
from edgegolf.ir.tensor import Array


def vectors(images: Array, logits: Array) -> bytes:
    """What the testbench reads: for each image its bytes, its logits, and the label.

    Args:
        images: int8 `[n, …]`.
        logits: int8 `[n, classes]`.
    """
    labels = logits.argmax(1).astype(np.uint8)[:, None]
    parts = [a.reshape(len(a), -1).view(np.uint8) for a in (images, logits)]
    return np.concatenate([*parts, labels], axis=1).tobytes()


def testbench(machine: Machine) -> str:
    """A file for iverilog and verilator; `+images=N` and `+vectors=FILE` say what it reads."""
    taken, given = machine.input_bytes, machine.logits
    return f"""\
// Sends images to the circuit and compares every logit and label with those of the interpreter,
// from a file with {taken} + {given} + 1 bytes for each image: pixels, logits, label.
`timescale 1ns / 1ns
module testbench;
    reg clk = 0, rst = 1, in_valid = 0;
    reg [7:0] in_data = 0;
    wire in_ready, out_valid, done;
    wire [7:0] out_data;
    wire [{bits(given - 1) - 1}:0] label;
    circuit circuit (
        .clk(clk), .rst(rst), .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data),
        .out_valid(out_valid), .out_data(out_data), .done(done), .label(label)
    );
    always #5 clk = !clk;

    integer images = 4, file, image, sent, found, wrong = 0, waited = 0;
    time began, took = 0;
    reg [8*256-1:0] name = "vectors.bin";
    reg [7:0] record[0:{taken + given}];
    initial begin
        if ($value$plusargs("images=%d", images)) ;
        if ($value$plusargs("vectors=%s", name)) ;
        file = $fopen(name, "rb");
        repeat (4) @(negedge clk);
        rst = 0;
        for (image = 0; image < images; image = image + 1) begin
            if ($fread(record, file) != {taken + given + 1}) begin
                $display("FAILED: the file of vectors ends at image %0d", image);
                $finish;
            end
            began = $time;
            sent = 0;
            while (sent < {taken}) begin
                in_valid = image % 2 == 0 || sent % 5 != waited; // some images come slowly
                in_data = record[sent];
                waited = in_valid ? 4 : waited == 4 ? 3 : 4;
                #1 if (in_valid && in_ready) sent = sent + 1;
                @(negedge clk);
            end
            in_valid = 0;
            found = 0;
            while (found < {given}) begin
                @(negedge clk);
                if (out_valid) begin
                    if (out_data !== record[{taken} + found]) wrong = wrong + 1;
                    found = found + 1;
                    if (done !== (found == {given})) wrong = wrong + 1;
                end
                if ($time - began > 10 * 4 * {machine.cycles}) begin
                    $display("FAILED: no answer to image %0d", image);
                    $finish;
                end
            end
            if (label !== record[{taken + given}]) wrong = wrong + 1;
            if (image == 0) took = ($time - began) / 10;
        end
        if (wrong == 0) $display("PASSED: %0d images, %0d cycles for the first", images, took);
        else $display("FAILED: %0d of the logits and labels of %0d images differ", wrong, images);
        $finish;
    end
endmodule
"""
