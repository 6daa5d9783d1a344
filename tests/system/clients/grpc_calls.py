"""Calls by the gRPC library of Python. Usage: python3 grpc_calls.py ADDRESS PORT ROOT"""

import sys
from pathlib import Path

import grpc

NAME = "site.example"


def main() -> None:
    address, port, root = sys.argv[1:]
    credentials = grpc.ssl_channel_credentials(Path(root).read_bytes())
    options = [("grpc.ssl_target_name_override", NAME), ("grpc.default_authority", NAME)]
    with grpc.secure_channel(f"{address}:{port}", credentials, options) as channel:
        say = channel.unary_unary("/test.Echo/Say")
        answer, call = say.with_call(b"hello", timeout=30)
        assert answer == b"the site: hello", answer
        assert (call.code(), call.details()) == (grpc.StatusCode.OK, "fine"), call
        assert ("x-request-trailer", "none") in call.trailing_metadata(), call.trailing_metadata()
        # On one connection, at the same time.
        calls = [say.future(b"hello", timeout=30) for _ in range(50)]
        assert all(call.result() == b"the site: hello" for call in calls)
        assert list(channel.unary_stream("/test.Echo/Many")(b"hello", timeout=30)) == [b"the site: hello"] * 3
        refused(channel, "/test.Echo/Fail", grpc.StatusCode.NOT_FOUND, "no such thing")
        refused(channel, "/test.Echo/Nothing", grpc.StatusCode.UNIMPLEMENTED, "")
    print("ok")


def refused(channel: grpc.Channel, method: str, code: grpc.StatusCode, details: str) -> None:
    try:
        channel.unary_unary(method)(b"hello", timeout=30)
    except grpc.RpcError as error:
        assert (error.code(), error.details()) == (code, details), error
    else:
        raise AssertionError(f"{method} should have failed")


main()
