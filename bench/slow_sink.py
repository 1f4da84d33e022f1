"""A destination that takes everything and answers 200 after a while: `python -m bench.slow_sink PORT SECONDS`."""

import asyncio
import sys


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause_s: float) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = (line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:] if b":" in line)
            length = dict(fields).get(b"content-length", b"0")
            await reader.readexactly(int(length))
            await asyncio.sleep(pause_s)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


async def main(port: int, pause_s: float) -> None:
    server = await asyncio.start_server(lambda r, w: _answer(r, w, pause_s), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
