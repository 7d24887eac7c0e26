"""A port that misbehaves: `fake_port.py MODE`, frames on stdin and stdout.

It does silu_exact rightly, and in MODE something wrong with the case whose x has 3 rows. Every
image is right to it, and of other ops it knows nothing.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace

import numpy as np

from ee_ref import ops
from ee_ref.conformance.protocol import Body, Decoder, Frame, Type

ROWS = 3


class Port:
    def __init__(self, mode: str):
        self.mode = mode
        self.last = b""

    def write(self, data: bytes) -> None:
        os.write(1, data)

    def answer(self, frame: Frame) -> None:
        if frame.type == Type.HELLO:
            self.hello(frame)
        elif frame.type == Type.BYE:
            self.write(Frame(Type.END, frame.sequence, Body().encode()).encode())
            sys.exit(0)
        else:
            self.case(frame)

    def hello(self, frame: Frame) -> None:
        if self.mode == "silent":
            time.sleep(60)
        parameters = {"protocol": 99 if self.mode == "other_protocol" else 1, "name": "fake",
                      "largest_frame": 20000}
        if self.mode == "lists_ops":
            parameters["ops"] = "silu_exact"
        if self.mode == "garbled_hello":
            self.write(Frame(Type.PORT, frame.sequence, b"\1").encode())
            return
        if self.mode == "dies_for_good":
            if os.path.exists(os.environ["FAKE_MARK"]):
                os._exit(4)
            open(os.environ["FAKE_MARK"], "w").close()
        self.write(Frame(Type.PORT, frame.sequence, Body("", parameters).encode()).encode())

    def case(self, frame: Frame) -> None:
        question = Body.decode(frame.payload)
        if question.name != "silu_exact":
            self.write(self.other_op(question, frame.sequence).encode())
            return
        x = question.tensors["x"]
        result = Frame(Type.RESULT, frame.sequence,
                       Body("", {}, {"y": ops.silu_exact(x)}).encode())
        data = result.encode()
        if len(x) == ROWS:
            data = self.misbehave(frame, result, x)
        self.last = data
        self.write(data)

    def other_op(self, question: Body, sequence: int) -> Frame:
        if question.name == "image_status":
            status = np.frombuffer(b"EE_OK", np.int8)
            return Frame(Type.RESULT, sequence, Body("", {}, {"status": status}).encode())
        unknown = Body("", {"text": f"no such op: {question.name}"})
        return Frame(Type.UNSUPPORTED, sequence, unknown.encode())

    def misbehave(self, frame: Frame, result: Frame, x: np.ndarray) -> bytes:
        data = result.encode()
        y = ops.silu_exact(x)

        def other(tensors) -> bytes:
            return replace(result, payload=Body("", {}, tensors).encode()).encode()

        def problem(type_: Type, code: int, text: str) -> bytes:
            return Frame(type_, frame.sequence, Body("", {"code": code, "text": text}).encode()
                         ).encode()

        if self.mode in ("dies", "dies_for_good"):
            print("out of smoke", file=sys.stderr, flush=True)
            os._exit(3)
        if self.mode == "hangs":
            time.sleep(60)
        if self.mode == "truncated":
            self.write(data[: len(data) // 2])
            os._exit(0)
        wrong = bytearray(data)
        wrong[len(data) // 2] ^= 4
        return {
            "good": data,
            "garbage": b"printf was here EECF EECF\n" + os.urandom(500) + data + b"EEC",
            "wrong_crc": bytes(wrong),
            "stale": self.last + data,
            "only_stale": self.last,
            "error": problem(Type.ERROR, 4, "no luck"),
            "unsupported": problem(Type.UNSUPPORTED, 0, "too many rows"),
            "asks_again": problem(Type.ERROR, 1, "bad frame"),
            "one_bit": other({"y": (y.view(np.uint32) ^ (np.arange(y.size).reshape(y.shape) == 7)
                                    ).view(np.float32)}),
            "shape": other({"y": y[:, :-1]}),
            "dtype": other({"y": y.astype(np.int32)}),
            "missing": other({}),
            "more": other({"y": y, "z": y}),
            "nan": other({"y": np.full_like(y, np.nan)}),
            "bad_body": replace(result, payload=b"\xff" * 40).encode(),
            "other_type": replace(result, type=Type.END).encode(),
            "unknown_type": replace(result, type=0x99).encode(),
            "huge": Frame(Type.RESULT, frame.sequence, bytes(1 << 20)).encode(),
        }.get(self.mode, data)


def main() -> None:
    port, decoder = Port(sys.argv[1]), Decoder()
    while data := os.read(0, 1 << 16):
        for frame in decoder.feed(data):
            port.answer(frame)


if __name__ == "__main__":
    main()
