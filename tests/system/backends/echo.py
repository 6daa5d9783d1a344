"""A WebSocket server of the Python package websockets on its own port. Usage: python3 echo.py NAME PORT

It prints its port and answers each text message with "NAME: message".
"""

import asyncio
import contextlib
import sys

import websockets


async def main() -> None:
    name, port = sys.argv[1], int(sys.argv[2])

    async def echo(socket):
        # A connection that is cut is the matter of a test, not of this program.
        with contextlib.suppress(websockets.ConnectionClosed):
            async for message in socket:
                await socket.send(f"{name}: {message}")

    async with websockets.serve(echo, "127.0.0.1", port) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        # The test has ended, however it did, when stdin ends.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
