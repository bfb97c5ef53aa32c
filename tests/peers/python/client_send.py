"""Sends one message with the client of a2a-sdk 1.3 and prints what comes of it as one JSON document.

It is `{"ok": true, "value": […]}`, with the events or the one answer as ProtoJSON, or `{"ok":
false, "error": "TypeName", "message": …}`. The message is a text, or else a file of a few bytes
that are no UTF-8: the agents' behaviour `file-` answers with what it received.
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


async def send(http: httpx.AsyncClient, args: Namespace) -> list[dict]:
    card = await A2ACardResolver(http, args.base).get_agent_card()
    if args.version:
        kept = [i for i in card.supported_interfaces if i.protocol_version.startswith(args.version)]
        del card.supported_interfaces[:]
        card.supported_interfaces.extend(kept)
    config = ClientConfig(
        streaming=args.stream,
        httpx_client=http,
        grpc_channel_factory=channel_factory(args.key),
        supported_protocol_bindings=[args.binding],
    )
    part = Part(raw=FILE, filename='input.bin', media_type='image/x-test')
    if args.text:
        part = Part(text=args.text)
    prefix = 'text-' if args.text else 'file-'
    message = Message(message_id=prefix + uuid4().hex, role=Role.ROLE_USER, parts=[part])
    sent = ClientFactory(config).create(card).send_message(SendMessageRequest(message=message))
    return [MessageToDict(event) async for event in sent]


async def main() -> None:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument('--version', help='use only the interfaces of this version, e.g. 0.3')
    arguments.add_argument('--text', help='sent instead of the file')
    arguments.add_argument('--stream', action='store_true', help='asks for a stream')
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
