"""The command line's connection on the server: a request comes in, the frames of a table go out.

One request is answered at a time; a connection may bring several. Who may connect is decided by
`bartos.api.guard`, what is answered by `bartos.commands`.
"""

from __future__ import annotations

import logging
from typing import Final, cast

from starlette.websockets import WebSocket, WebSocketDisconnect

from bartos import commands
from bartos.services import Services
from libbarto.errors import CodecError
from libbarto.message.v2.cli import CLI_ANSWER, CLI_REQUEST, Failed

log = logging.getLogger(__name__)

SUBPROTOCOL: Final = "barto.v2"
UNSUPPORTED_DATA: Final = 1003
PROTOCOL_ERROR: Final = 1002


async def cli_endpoint(websocket: WebSocket) -> None:
    """Serve `/v1/ws/cli` until the client leaves."""
    given = cast(Services, websocket.app.state.services)
    if SUBPROTOCOL not in websocket.scope.get("subprotocols", ()):
        await websocket.close(PROTOCOL_ERROR, f"this server speaks {SUBPROTOCOL}")
        return
    await websocket.accept(subprotocol=SUBPROTOCOL)
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            if data is None:
                await websocket.close(UNSUPPORTED_DATA, "messages are binary")
                return
            await _serve(websocket, data, given)
    except WebSocketDisconnect:
        # The client has gone while it was answered: it wants no more.
        return


async def _serve(websocket: WebSocket, data: bytes, given: Services) -> None:
    try:
        request = CLI_REQUEST.decode(data)
    except CodecError as error:
        failed = Failed(exit_code=commands.USAGE, message=f"the request cannot be read: {error}")
        await websocket.send_bytes(CLI_ANSWER.encode(failed))
        return
    async for frame in commands.answer(request, given):
        await websocket.send_bytes(CLI_ANSWER.encode(frame))
