"""HTTPS by Python: http.client, httpx over HTTP/2, and websockets. Usage: python3 secure.py ADDRESS PORT ROOT"""

import asyncio
import http.client
import socket
import ssl
import sys

import httpx
import websockets

NAME = "site.example"


def by_version_1(port: int, context: ssl.SSLContext) -> None:
    connection = http.client.HTTPSConnection(NAME, port, context=context, timeout=30)
    for _ in range(3):
        connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read()
        assert (response.version, response.status, body) == (11, 200, b"the site"), body
    upload = b"0123456789" * 100_000
    connection.request("POST", "/echo", body=upload)
    assert connection.getresponse().read() == upload
    connection.close()


def by_version_2(port: int, context: ssl.SSLContext) -> None:
    url = f"https://{NAME}:{port}"
    with httpx.Client(base_url=url, http1=False, http2=True, verify=context, timeout=30) as client:
        for _ in range(3):
            response = client.get("/")
            assert (response.http_version, response.text) == ("HTTP/2", "the site"), response
        upload = b"0123456789" * 100_000
        assert client.post("/echo", content=upload).content == upload


async def by_websocket(port: int, context: ssl.SSLContext) -> None:
    async with websockets.connect(f"wss://{NAME}:{port}/chat", ssl=context) as connection:
        for text in ("hello", "again"):
            await connection.send(text)
            answer = await asyncio.wait_for(connection.recv(), 30)
            assert answer == f"the site: {text}", answer


def refused(port: int) -> None:
    try:
        http.client.HTTPSConnection(NAME, port, timeout=30).request("GET", "/")
    except ssl.SSLCertVerificationError:
        return
    raise AssertionError("it trusts a root that it was not told")


def main() -> None:
    address, port, root = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    look_up = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *more, **named: look_up(address if host == NAME else host, *more, **named)
    context = ssl.create_default_context(cafile=root)
    by_version_1(port, context)
    by_version_2(port, context)
    asyncio.run(by_websocket(port, context))
    refused(port)
    print("ok")


main()
