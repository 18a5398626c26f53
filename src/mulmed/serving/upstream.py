"""Server-sent events of an engine's own server on this machine.

One connection a request, which is closed when nobody reads any more: so the server knows to stop computing. Read with
asyncio alone: an HTTP client takes a tenth of a millisecond a token, which the model's cores would miss.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from mulmed.serving.engine import EngineFailed


async def events(url: str, key: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
    """The JSON objects that the server answers, until it ends or says ``[DONE]``.

    Raises:
        EngineFailed: it refuses the request, or breaks off in the middle of an event.
    """
    address = urlsplit(url)
    data = orjson.dumps(body)
    head = (
        f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(head.encode() + data)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in answer.split(b"\r\n", 1)[0] or b"transfer-encoding: chunked" not in answer:
            raise EngineFailed("the engine refused a request")
        begun = b""
        while size := int(await reader.readline() or b"0", 16):  # RFC 9112, section 7.1
            begun += (await reader.readexactly(size + 2))[:-2]
            *whole, begun = begun.split(b"\n\n")
            for event in whole:
                document = event.partition(b":")[2].strip()
                if not document or not event.startswith(b"data"):
                    continue
                if document == b"[DONE]":
                    return
                found = orjson.loads(document)
                if "error" in found:
                    raise EngineFailed("the engine refused a prompt")
                yield found
        if begun.strip():
            raise EngineFailed("the engine broke off")
    finally:
        writer.close()
