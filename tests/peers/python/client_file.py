"""Sends one file part with the client of a2a-sdk 1.3 and prints the answer as one JSON document.

It is `{"ok": true, "value": …}`, with the answer as ProtoJSON, or `{"ok": false, "error":
"TypeName", "message": …}`. The agent's behaviour `file-` answers with what it received.
"""

import asyncio
import json
from argparse import Namespace
from uuid import uuid4

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import Message, Part, Role, SendMessageRequest
from google.protobuf.json_format import MessageToDict

from client_steps import channel_factory, parser

# They are no UTF-8, and their base64 has both of the characters `+` and `/`.
FILE = bytes.fromhex('fbefbeff0080c1fe01f5fa0a')


async def send(http: httpx.AsyncClient, args: Namespace) -> dict:
    card = await A2ACardResolver(http, args.base).get_agent_card()
    if args.version:
        kept = [i for i in card.supported_interfaces if i.protocol_version.startswith(args.version)]
        del card.supported_interfaces[:]
        card.supported_interfaces.extend(kept)
    config = ClientConfig(
        streaming=False,
        httpx_client=http,
        grpc_channel_factory=channel_factory(args.key),
        supported_protocol_bindings=[args.binding],
    )
    message = Message(
        message_id='file-' + uuid4().hex,
        role=Role.ROLE_USER,
        parts=[Part(raw=FILE, filename='input.bin', media_type='image/x-test')],
    )
    sent = ClientFactory(config).create(card).send_message(SendMessageRequest(message=message))
    [answer] = [event async for event in sent]
    return MessageToDict(answer)


async def main() -> None:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument('--version', help='use only the interfaces of this version, e.g. 0.3')
    args = arguments.parse_args()

    headers = {'Authorization': f'Bearer {args.key}'} if args.key else {}
    async with httpx.AsyncClient(headers=headers, timeout=30) as http:
        try:
            outcome = {'ok': True, 'value': await send(http, args)}
        except Exception as error:
            outcome = {'ok': False, 'error': type(error).__name__, 'message': str(error)}
    print(json.dumps(outcome, ensure_ascii=False))


if __name__ == '__main__':
    asyncio.run(main())
