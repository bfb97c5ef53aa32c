"""Calls an agent with the client of a2a-sdk 1.3 and prints one JSON document of what it saw.

Each step is `{"ok": true, "value": …}` or `{"ok": false, "error": "TypeName", "message": …}`, the
latter with the JSON-RPC `code` where the error has one. Values are ProtoJSON.
"""

import asyncio
import re
from argparse import Namespace
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.types import (
    AgentCard,
    AuthenticationInfo,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
)
from a2a.utils.errors import JSON_RPC_ERROR_CODE_MAP
from google.protobuf.json_format import MessageToDict

from client_steps import Steps, channel_factory, first_events, need, parser

METADATA = {'trace': 't-1', 'count': 3, 'ratio': 0.25, 'none': None, 'nested': {'list': [1, None]}}
CONFIG_ID = 'config-1'


def details(error: Exception) -> dict[str, Any]:
    """Returns the code and the data of an A2A error.

    The SDK keeps the code only as the type, and in the text of an error that has no type.
    """
    found = {}
    text = re.match(r'JSON-RPC Error (-?\d+)', str(error))
    if type(error) in JSON_RPC_ERROR_CODE_MAP:
        found['code'] = JSON_RPC_ERROR_CODE_MAP[type(error)]
    elif text:
        found['code'] = int(text[1])
    if getattr(error, 'data', None):
        found['data'] = error.data
    return found


def request(
    prefix: str, text: str = 'hello', task: Task | None = None, **fields: Any
) -> SendMessageRequest:
    """Returns a request whose message id starts with `prefix`, about `task` if there is one."""
    message = Message(
        message_id=prefix + uuid4().hex,
        role=Role.ROLE_USER,
        parts=[Part(text=text)],
        task_id=task.id if task else None,
        context_id=task.context_id if task else None,
        metadata=fields.pop('metadata', None),
    )
    return SendMessageRequest(message=message, **fields)


class Conversation:
    """The steps, and what they leave for one another."""

    def __init__(self, http: httpx.AsyncClient, args: Namespace) -> None:
        self.http = http
        self.args = args
        self.unary: Client | None = None
        self.streaming: Client | None = None
        self.done: Task | None = None
        self.waiting: Task | None = None

    def connect(self, card: AgentCard, streaming: bool) -> Client:
        config = ClientConfig(
            streaming=streaming,
            httpx_client=self.http,
            grpc_channel_factory=channel_factory(self.args.key),
            supported_protocol_bindings=[self.args.binding],
        )
        return ClientFactory(config).create(card)

    async def send(self, request: SendMessageRequest) -> tuple[Any, Task]:
        """Returns the answer of a unary send as ProtoJSON, and the task in it."""
        client = need(self.unary, 'card')
        [response] = [event async for event in client.send_message(request)]
        return MessageToDict(response), response.task

    async def stream(self, request: SendMessageRequest) -> list[dict]:
        client = need(self.streaming, 'card')
        return [MessageToDict(event) async for event in client.send_message(request)]

    async def hold(self) -> str:
        """Starts a task that stays open and returns its id."""
        configuration = SendMessageConfiguration(return_immediately=True)
        _, task = await self.send(request('hold-', configuration=configuration))
        return task.id

    async def resolve_card(self) -> dict:
        card = await A2ACardResolver(self.http, self.args.base).get_agent_card()
        if self.args.version:
            kept = [i for i in card.supported_interfaces if i.protocol_version == self.args.version]
            del card.supported_interfaces[:]
            card.supported_interfaces.extend(kept)
        self.unary = self.connect(card, streaming=False)
        self.streaming = self.connect(card, streaming=True)
        return MessageToDict(card)

    async def send_blocking(self) -> dict:
        value, self.done = await self.send(request('send-', metadata=METADATA))
        return value

    async def send_value(self, prefix: str, text: str = 'hello') -> dict:
        value, _ = await self.send(request(prefix, text))
        return value

    async def stream_value(self, prefix: str) -> list[dict]:
        return await self.stream(request(prefix))

    async def get(self, **fields: Any) -> dict:
        done = need(self.done, 'send')
        task = await self.unary.get_task(GetTaskRequest(id=done.id, **fields))
        return MessageToDict(task)

    async def get_missing(self) -> dict:
        client = need(self.unary, 'card')
        task = await client.get_task(GetTaskRequest(id='no-such-task'))
        return MessageToDict(task)

    async def list_tasks(self) -> dict:
        done = need(self.done, 'send')
        wanted = ListTasksRequest(context_id=done.context_id)
        return MessageToDict(await self.unary.list_tasks(wanted))

    async def cancel(self) -> dict:
        wanted = CancelTaskRequest(id=await self.hold())
        return MessageToDict(await self.unary.cancel_task(wanted))

    async def cancel_finished(self) -> dict:
        wanted = CancelTaskRequest(id=need(self.done, 'send').id)
        return MessageToDict(await self.unary.cancel_task(wanted))

    async def subscribe(self) -> list[dict]:
        wanted = SubscribeToTaskRequest(id=await self.hold())
        events = await first_events(self.streaming.subscribe(wanted))
        return [MessageToDict(event) for event in events]

    async def subscribe_finished(self) -> list[dict]:
        wanted = SubscribeToTaskRequest(id=need(self.done, 'send').id)
        events = await first_events(self.streaming.subscribe(wanted))
        return [MessageToDict(event) for event in events]

    async def input_required(self) -> dict:
        value, self.waiting = await self.send(request('input-'))
        return value

    async def continue_task(self) -> dict:
        waiting = need(self.waiting, 'input_required')
        value, _ = await self.send(request('more-', text='the rest', task=waiting))
        return value

    async def push_create(self) -> dict:
        config = TaskPushNotificationConfig(
            task_id=need(self.done, 'send').id,
            id=CONFIG_ID,
            url=self.args.push_url,
            token='token-1',
            authentication=AuthenticationInfo(scheme='Bearer', credentials='secret-1'),
        )
        created = await self.unary.create_task_push_notification_config(config)
        return MessageToDict(created)

    async def push_get(self) -> dict:
        wanted = GetTaskPushNotificationConfigRequest(
            task_id=need(self.done, 'send').id, id=CONFIG_ID
        )
        return MessageToDict(await self.unary.get_task_push_notification_config(wanted))

    async def push_list(self) -> dict:
        wanted = ListTaskPushNotificationConfigsRequest(task_id=need(self.done, 'send').id)
        return MessageToDict(await self.unary.list_task_push_notification_configs(wanted))

    async def push_delete(self) -> None:
        wanted = DeleteTaskPushNotificationConfigRequest(
            task_id=need(self.done, 'send').id, id=CONFIG_ID
        )
        await self.unary.delete_task_push_notification_config(wanted)

    async def extended_card(self) -> dict:
        client = need(self.unary, 'card')
        card = await client.get_extended_agent_card(GetExtendedAgentCardRequest())
        return MessageToDict(card)


async def main() -> None:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument('--version', help='use only the interfaces of this version, e.g. 0.3')
    args = arguments.parse_args()

    headers = {'Authorization': f'Bearer {args.key}'} if args.key else {}
    steps = Steps(details)
    async with httpx.AsyncClient(headers=headers, timeout=30) as http:
        talk = Conversation(http, args)
        await steps.run('card', talk.resolve_card)
        await steps.run('send', talk.send_blocking)
        await steps.run('send_message_reply', lambda: talk.send_value('message-'))
        await steps.run('stream', lambda: talk.stream_value('stream-'))
        await steps.run('stream_message_reply', lambda: talk.stream_value('message-'))
        await steps.run('stream_chunks', lambda: talk.stream_value('chunks-3-8-10-'))
        await steps.run('get', talk.get)
        await steps.run('get_history_0', lambda: talk.get(history_length=0))
        await steps.run('list', talk.list_tasks)
        await steps.run('cancel', talk.cancel)
        await steps.run('subscribe', talk.subscribe)
        await steps.run('subscribe_finished', talk.subscribe_finished)
        await steps.run('input_required', talk.input_required)
        await steps.run('continue', talk.continue_task)
        for kind in ('text', 'file', 'url', 'data'):
            await steps.run(f'artifact_{kind}', partial(talk.send_value, f'artifact-{kind}-'))
        await steps.run('reject', lambda: talk.send_value('reject-'))
        await steps.run('fail', lambda: talk.send_value('fail-'))
        await steps.run('raise', lambda: talk.send_value('raise-'))
        await steps.run('stream_raise', lambda: talk.stream_value('raise-'))
        await steps.run(
            'error_content_type', lambda: talk.send_value('error-', 'ContentTypeNotSupported')
        )
        await steps.run(
            'error_unsupported', lambda: talk.send_value('error-', 'UnsupportedOperation')
        )
        await steps.run('push_create', talk.push_create)
        await steps.run('push_get', talk.push_get)
        await steps.run('push_list', talk.push_list)
        await steps.run('push_delete', talk.push_delete)
        await steps.run('extended_card', talk.extended_card)
        await steps.run('get_missing', talk.get_missing)
        await steps.run('cancel_finished', talk.cancel_finished)
    steps.print()


if __name__ == '__main__':
    asyncio.run(main())
