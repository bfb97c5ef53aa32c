"""A test agent made with a2a-sdk 1.3: JSON-RPC, HTTP+JSON and gRPC, in A2A 1.0 and 0.3.

The prefix of `message.messageId` chooses what the agent does, so a test needs no other channel to
it. README.md lists the prefixes; `agent_v03.py` has the same ones.
"""

import argparse
import asyncio
import logging
import re

import a2a.compat.v0_3.a2a_v0_3_pb2_grpc as grpc_v03
import a2a.types.a2a_pb2_grpc as grpc_v1
import grpc.aio
import httpx
from a2a.compat.v0_3.grpc_handler import CompatGrpcHandler
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.request_handlers.grpc_handler import GrpcHandler
from a2a.server.routes import (
    create_agent_card_routes,
    create_jsonrpc_routes,
    create_rest_routes,
)
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentProvider,
    AgentSkill,
    Message,
    Part,
    Role,
    Task,
    TaskState,
    TaskStatus,
)
from a2a.utils.errors import JSON_RPC_ERROR_CODE_MAP, A2AError
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value
from starlette.applications import Starlette

import agent_process

HOLD_S = 6
DATA = {
    'name': 'report',
    'count': 42,
    'ratio': 0.5,
    'none': None,
    'nested': {'none': None, 'flag': True, 'empty': {}},
    'list': [1, None, 'two', [3]],
}
ERRORS = {error.__name__.removesuffix('Error'): error for error in JSON_RPC_ERROR_CODE_MAP}


def text_part() -> Part:
    return Part(text='generated text')


def file_part() -> Part:
    # These bytes are no UTF-8, and their base64 has both of the characters `+` and `/`.
    return Part(
        raw=b'\xfb\xef\xbe\xff\x00 file body\n',
        filename='output.bin',
        media_type='application/octet-stream',
    )


def url_part() -> Part:
    return Part(
        url='https://example.com/output.txt', filename='output.txt', media_type='text/plain'
    )


def data_part() -> Part:
    return Part(data=json_format.ParseDict(DATA, Value()), media_type='application/json')


ARTIFACTS = {
    'artifact-text-': text_part,
    'artifact-file-': file_part,
    'artifact-url-': url_part,
    'artifact-data-': data_part,
}


def text_of(message: Message) -> str:
    return ''.join(part.text for part in message.parts)


def received(message: Message) -> list[Part]:
    """Returns the file parts of `message`, and a text that says which bytes they hold."""
    files = [part for part in message.parts if part.WhichOneof('content') in ('raw', 'url')]
    body = b''.join(part.raw for part in files)
    return [*files, Part(text=f'received {len(body)} bytes: {body[:8].hex()}')]


def error_named(name: str) -> A2AError:
    """Returns the A2A error called `name`, with or without the suffix "Error"."""
    error = ERRORS.get(name.strip().removesuffix('Error'))
    if error is None:
        raise ValueError(f'no A2A error is called {name!r}; known: {", ".join(ERRORS)}')
    return error(message=f'asked for: {error.__name__}')


class Executor(AgentExecutor):
    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        message = context.message
        message_id = message.message_id
        if message_id.startswith('error-'):
            raise error_named(text_of(message))
        if message_id.startswith('message-'):
            await event_queue.enqueue_event(
                Message(
                    role=Role.ROLE_AGENT,
                    message_id='reply-' + message_id,
                    context_id=context.context_id,
                    parts=[Part(text='echo: ' + text_of(message))],
                    metadata=message.metadata if message.HasField('metadata') else None,
                )
            )
            return
        if context.current_task is None:
            # The 1.x SDK refuses updates of a task that it has not seen.
            await event_queue.enqueue_event(
                Task(
                    id=context.task_id,
                    context_id=context.context_id,
                    status=TaskStatus(state=TaskState.TASK_STATE_SUBMITTED),
                    history=[message],
                    metadata=message.metadata if message.HasField('metadata') else None,
                )
            )
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await self._work(message, updater)

    async def _work(self, message: Message, task: TaskUpdater) -> None:
        message_id = message.message_id

        def say(text: str) -> Message:
            return task.new_agent_message([Part(text=text)])

        for prefix, part in ARTIFACTS.items():
            if message_id.startswith(prefix):
                await task.add_artifact([part()], artifact_id='a1', name='out', last_chunk=True)
                await task.complete()
                return
        if chunks := re.match(r'chunks-(\d+)-(\d+)-(\d+)-', message_id):
            await self._stream_chunks(task, *map(int, chunks.groups()))
        elif message_id.startswith('file-'):
            await task.add_artifact(received(message), artifact_id='a1', name='out')
            await task.complete()
        elif message_id.startswith('input-'):
            await task.requires_input(say('more input please'))
        elif message_id.startswith('reject-'):
            await task.reject(say('rejected on request'))
        elif message_id.startswith('fail-'):
            await task.start_work()
            await task.failed(say('failed on request'))
        elif message_id.startswith('raise-'):
            await task.start_work()
            raise RuntimeError('the executor raised on request')
        elif message_id.startswith('hold-'):
            await task.start_work()
            await asyncio.sleep(HOLD_S)
            await task.complete(say('held to the end'))
        else:
            await task.complete(say('echo: ' + text_of(message)))

    async def _stream_chunks(self, task: TaskUpdater, count: int, size: int, delay_ms: int) -> None:
        await task.start_work()
        for i in range(count):
            await task.add_artifact(
                [Part(text='x' * size)],
                artifact_id='a1',
                append=i > 0,
                last_chunk=i == count - 1,
            )
            await asyncio.sleep(delay_ms / 1000)
        await task.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def make_card(ready: dict[str, str], args: argparse.Namespace) -> AgentCard:
    urls = {'JSONRPC': ready['jsonrpc'], 'HTTP+JSON': ready['rest'], 'GRPC': ready['grpc']}
    return AgentCard(
        name='Test agent v1',
        description='Behaves as the prefix of messageId asks (a2a-sdk 1.3).',
        version='1.0.0',
        provider=AgentProvider(organization='Switchboard tests', url='https://example.com'),
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding=binding, protocol_version=version)
            for version in (['1.0'] if args.no_compat else ['1.0', '0.3'])
            for binding, url in urls.items()
        ],
        capabilities=AgentCapabilities(
            streaming=True, push_notifications=args.push, extended_agent_card=args.ext_card
        ),
        default_input_modes=['text/plain'],
        default_output_modes=['text/plain'],
        skills=[AgentSkill(id='echo', name='Echo', description='Says it again.', tags=['test'])],
    )


def make_extended(card: AgentCard) -> AgentCard:
    """Returns `card` with one more skill, so that a test can tell the two apart."""
    extended = AgentCard()
    extended.CopyFrom(card)
    extended.skills.append(
        AgentSkill(id='extended', name='Extended', description='For known callers.', tags=['test'])
    )
    return extended


def make_handler(card: AgentCard, args: argparse.Namespace) -> DefaultRequestHandler:
    optional = {}
    if args.push:
        configs = InMemoryPushNotificationConfigStore()
        optional['push_config_store'] = configs
        optional['push_sender'] = BasePushNotificationSender(
            httpx_client=httpx.AsyncClient(), config_store=configs
        )
    if args.ext_card:
        optional['extended_agent_card'] = make_extended(card)
    return DefaultRequestHandler(
        agent_executor=Executor(), task_store=InMemoryTaskStore(), agent_card=card, **optional
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--no-compat', action='store_true', help='serve A2A 1.0 only')
    parser.add_argument('--push', action='store_true', help='support push notifications')
    parser.add_argument('--ext-card', action='store_true', help='support the extended card')
    args = parser.parse_args()

    sock = agent_process.bind()
    grpc_server = grpc.aio.server()
    grpc_port = grpc_server.add_insecure_port(f'{agent_process.HOST}:0')
    ready = agent_process.ready_line(agent_process.origin_of(sock), grpc_port)

    card = make_card(ready, args)
    handler = make_handler(card, args)
    grpc_v1.add_A2AServiceServicer_to_server(GrpcHandler(handler), grpc_server)
    if not args.no_compat:
        grpc_v03.add_A2AServiceServicer_to_server(CompatGrpcHandler(handler), grpc_server)
    await grpc_server.start()

    compat = {'enable_v0_3_compat': not args.no_compat}
    app = Starlette(
        routes=[
            *create_agent_card_routes(agent_card=card),
            *create_jsonrpc_routes(request_handler=handler, rpc_url='/a2a/jsonrpc', **compat),
            *create_rest_routes(request_handler=handler, path_prefix='/a2a/rest', **compat),
        ]
    )
    await agent_process.serve(app, sock, ready)


if __name__ == '__main__':
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main())
