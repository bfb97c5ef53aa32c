"""Calls an agent with the client of a2a-sdk 0.3.26 and prints one JSON document of what it saw.

Each step is `{"ok": true, "value": …}` or `{"ok": false, "error": "TypeName", "message": …}`, the
latter with the JSON-RPC `code` or the HTTP `status` where the error has one. Values are A2A 0.3.
"""

import asyncio
from argparse import Namespace
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.client.errors import A2AClientHTTPError, A2AClientJSONRPCError
from a2a.types import (
    A2ARequest,
    AgentCard,
    DeleteTaskPushNotificationConfigParams,
    DeleteTaskPushNotificationConfigRequest,
    DeleteTaskPushNotificationConfigResponse,
    GetTaskPushNotificationConfigParams,
    JSONRPCErrorResponse,
    ListTaskPushNotificationConfigParams,
    ListTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigResponse,
    Message,
    MessageSendConfiguration,
    Part,
    PushNotificationAuthenticationInfo,
    PushNotificationConfig,
    Role,
    Task,
    TaskIdParams,
    TaskPushNotificationConfig,
    TaskQueryParams,
    TextPart,
)
from pydantic import BaseModel

from client_steps import Steps, channel_factory, first_events, need, parser

METADATA = {'trace': 't-1', 'count': 3, 'ratio': 0.25, 'none': None, 'nested': {'list': [1, None]}}
CONFIG_ID = 'config-1'


def details(error: Exception) -> dict[str, Any]:
    """Returns the code and the data of a JSON-RPC error, or the status of an HTTP error."""
    if isinstance(error, A2AClientJSONRPCError):
        data = {'data': error.error.data} if error.error.data is not None else {}
        # The text of the exception is the whole model; its message alone is what was sent.
        return {'code': error.error.code, 'message': error.error.message, **data}
    if isinstance(error, A2AClientHTTPError):
        return {'status': error.status_code}
    return {}


def as_json(model: BaseModel) -> Any:
    return model.model_dump(mode='json', by_alias=True, exclude_none=True)


def event_as_json(event: Message | tuple) -> Any:
    """Returns the event that arrived: the client pairs each one with the task so far."""
    if isinstance(event, tuple):
        task, update = event
        return as_json(update or task)
    return as_json(event)


def message(
    prefix: str, text: str = 'hello', task: Task | None = None, metadata: dict | None = None
) -> Message:
    """Returns a message whose id starts with `prefix`, about `task` if there is one."""
    return Message(
        message_id=prefix + uuid4().hex,
        role=Role.user,
        parts=[Part(root=TextPart(text=text))],
        task_id=task.id if task else None,
        context_id=task.context_id if task else None,
        metadata=metadata,
    )


class Conversation:
    """The steps, and what they leave for one another."""

    def __init__(self, http: httpx.AsyncClient, args: Namespace) -> None:
        self.http = http
        self.args = args
        self.card: AgentCard | None = None
        self.unary: Client | None = None
        self.streaming: Client | None = None
        self.done: Task | None = None
        self.waiting: Task | None = None

    def connect(self, card: AgentCard, streaming: bool) -> Client:
        config = ClientConfig(
            streaming=streaming,
            httpx_client=self.http,
            grpc_channel_factory=channel_factory(self.args.key),
            supported_transports=[self.args.binding],
        )
        return ClientFactory(config).create(card)

    async def send(
        self, message: Message, configuration: MessageSendConfiguration | None = None
    ) -> Task | Message:
        """Returns the answer of a unary send."""
        client = need(self.unary, 'card')
        sent = client.send_message(message, configuration=configuration)
        [answer] = [event async for event in sent]
        return answer[0] if isinstance(answer, tuple) else answer

    async def stream(self, message: Message) -> list[Any]:
        client = need(self.streaming, 'card')
        return [event_as_json(event) async for event in client.send_message(message)]

    async def hold(self) -> str:
        """Starts a task that stays open and returns its id."""
        task = await self.send(message('hold-'), MessageSendConfiguration(blocking=False))
        return task.id

    async def post(self, request: BaseModel, response_type: type[BaseModel]) -> Any:
        """Posts one of the SDK's requests for which its client has no method.

        The answer is read as strictly as the SDK's model is: the answer to a delete needs
        `"result": null`, which the SDK's own servers leave out.
        """
        body = as_json(A2ARequest(root=request))
        response = await self.http.post(self.card.url, json=body)
        response.raise_for_status()
        answer = response_type.model_validate(response.json()).root
        if isinstance(answer, JSONRPCErrorResponse):
            raise A2AClientJSONRPCError(answer)
        return as_json(answer).get('result')

    async def resolve_card(self) -> dict:
        self.card = await A2ACardResolver(self.http, self.args.base).get_agent_card()
        self.unary = self.connect(self.card, streaming=False)
        self.streaming = self.connect(self.card, streaming=True)
        return as_json(self.card)

    async def send_blocking(self) -> dict:
        self.done = await self.send(message('send-', metadata=METADATA))
        return as_json(self.done)

    async def send_value(self, prefix: str, text: str = 'hello') -> dict:
        return as_json(await self.send(message(prefix, text)))

    async def stream_value(self, prefix: str) -> list[Any]:
        return await self.stream(message(prefix))

    async def get(self, **fields: Any) -> dict:
        done = need(self.done, 'send')
        return as_json(await self.unary.get_task(TaskQueryParams(id=done.id, **fields)))

    async def get_missing(self) -> dict:
        client = need(self.unary, 'card')
        return as_json(await client.get_task(TaskQueryParams(id='no-such-task')))

    async def cancel(self) -> dict:
        return as_json(await self.unary_cancel(await self.hold()))

    async def cancel_finished(self) -> dict:
        return as_json(await self.unary_cancel(need(self.done, 'send').id))

    async def unary_cancel(self, task_id: str) -> Task:
        return await self.unary.cancel_task(TaskIdParams(id=task_id))

    async def resubscribe(self) -> list[Any]:
        wanted = TaskIdParams(id=await self.hold())
        events = await first_events(self.streaming.resubscribe(wanted))
        return [event_as_json(event) for event in events]

    async def input_required(self) -> dict:
        self.waiting = await self.send(message('input-'))
        return as_json(self.waiting)

    async def continue_task(self) -> dict:
        waiting = need(self.waiting, 'input_required')
        return as_json(await self.send(message('more-', text='the rest', task=waiting)))

    async def push_set(self) -> dict:
        config = TaskPushNotificationConfig(
            task_id=need(self.done, 'send').id,
            push_notification_config=PushNotificationConfig(
                id=CONFIG_ID,
                url=self.args.push_url,
                token='token-1',
                authentication=PushNotificationAuthenticationInfo(
                    schemes=['Bearer'], credentials='secret-1'
                ),
            ),
        )
        return as_json(await self.unary.set_task_callback(config))

    async def push_get(self) -> dict:
        wanted = GetTaskPushNotificationConfigParams(
            id=need(self.done, 'send').id, push_notification_config_id=CONFIG_ID
        )
        return as_json(await self.unary.get_task_callback(wanted))

    async def push_list(self) -> list[dict]:
        params = ListTaskPushNotificationConfigParams(id=need(self.done, 'send').id)
        request = ListTaskPushNotificationConfigRequest(id=uuid4().hex, params=params)
        return await self.post(request, ListTaskPushNotificationConfigResponse)

    async def push_delete(self) -> None:
        params = DeleteTaskPushNotificationConfigParams(
            id=need(self.done, 'send').id, push_notification_config_id=CONFIG_ID
        )
        request = DeleteTaskPushNotificationConfigRequest(id=uuid4().hex, params=params)
        await self.post(request, DeleteTaskPushNotificationConfigResponse)

    async def extended_card(self) -> dict:
        return as_json(await need(self.unary, 'card').get_card())


async def main() -> None:
    args = parser(__doc__.splitlines()[0]).parse_args()

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
        await steps.run('cancel', talk.cancel)
        await steps.run('resubscribe', talk.resubscribe)
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
        await steps.run('push_set', talk.push_set)
        await steps.run('push_get', talk.push_get)
        await steps.run('push_list', talk.push_list)
        await steps.run('push_delete', talk.push_delete)
        await steps.run('extended_card', talk.extended_card)
        await steps.run('get_missing', talk.get_missing)
        await steps.run('cancel_finished', talk.cancel_finished)
    steps.print()


if __name__ == '__main__':
    asyncio.run(main())
