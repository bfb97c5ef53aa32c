"""Answers what a2a-sdk 1.3 makes of an A2A value, so that the gateway's codecs can be compared.

Reads one JSON object per line of stdin and writes one per line of stdout, in the same order, until
stdin ends. README.md lists the requests. An answer is `{"ok": true, …}` or
`{"ok": false, "error": "TypeName: message"}`.
"""

import base64
import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from a2a.compat.v0_3 import a2a_v0_3_pb2, conversions
from a2a.compat.v0_3 import types as v03
from a2a.types import a2a_pb2
from google.protobuf import json_format
from google.protobuf.message import Message
from pydantic import BaseModel

# The converters want a JSON-RPC id for the envelopes that they build. It never leaves this file.
ID = 'oracle'


class Conversion(NamedTuple):
    """How one 1.0 type becomes its 0.3 counterpart and back, without a JSON-RPC envelope."""

    to_v03: Callable[[Message], Any]
    to_v1: Callable[[Any], Message]


def plain(model: type[BaseModel], name: str) -> Conversion:
    """Returns the conversion of a type that stands for itself in both versions."""
    to_compat = getattr(conversions, f'to_compat_{name}')
    to_core = getattr(conversions, f'to_core_{name}')
    return Conversion(to_compat, lambda value: to_core(model.model_validate(value)))


def request(model: type[BaseModel], name: str) -> Conversion:
    """Returns the conversion of a type that is the `params` of a request in 0.3."""
    to_compat = getattr(conversions, f'to_compat_{name}')
    to_core = getattr(conversions, f'to_core_{name}')
    return Conversion(
        lambda core: to_compat(core, ID).params,
        lambda value: to_core(model.model_validate({'id': ID, 'params': value})),
    )


def response(success: type[BaseModel], whole: type[BaseModel], name: str) -> Conversion:
    """Returns the conversion of a type that is the `result` of a response in 0.3."""
    to_compat = getattr(conversions, f'to_compat_{name}')
    to_core = getattr(conversions, f'to_core_{name}')
    return Conversion(
        lambda core: to_compat(core, ID).root.result,
        lambda value: to_core(whole(root=success.model_validate({'id': ID, 'result': value}))),
    )


STREAM_RESPONSE = Conversion(
    lambda core: conversions.to_compat_stream_response(core, ID).result,
    lambda value: conversions.to_core_stream_response(
        v03.SendStreamingMessageSuccessResponse.model_validate({'id': ID, 'result': value})
    ),
)

CONVERSIONS = {
    'Part': plain(v03.Part, 'part'),
    'Message': plain(v03.Message, 'message'),
    'TaskStatus': plain(v03.TaskStatus, 'task_status'),
    'Artifact': plain(v03.Artifact, 'artifact'),
    'Task': plain(v03.Task, 'task'),
    'TaskStatusUpdateEvent': plain(v03.TaskStatusUpdateEvent, 'task_status_update_event'),
    'TaskArtifactUpdateEvent': plain(v03.TaskArtifactUpdateEvent, 'task_artifact_update_event'),
    'AuthenticationInfo': plain(v03.PushNotificationAuthenticationInfo, 'authentication_info'),
    'TaskPushNotificationConfig': plain(
        v03.TaskPushNotificationConfig, 'task_push_notification_config'
    ),
    'SendMessageConfiguration': plain(v03.MessageSendConfiguration, 'send_message_configuration'),
    'SendMessageRequest': request(v03.SendMessageRequest, 'send_message_request'),
    'GetTaskRequest': request(v03.GetTaskRequest, 'get_task_request'),
    'CancelTaskRequest': request(v03.CancelTaskRequest, 'cancel_task_request'),
    'SubscribeToTaskRequest': request(v03.TaskResubscriptionRequest, 'subscribe_to_task_request'),
    'GetTaskPushNotificationConfigRequest': request(
        v03.GetTaskPushNotificationConfigRequest, 'get_task_push_notification_config_request'
    ),
    'ListTaskPushNotificationConfigsRequest': request(
        v03.ListTaskPushNotificationConfigRequest, 'list_task_push_notification_config_request'
    ),
    'DeleteTaskPushNotificationConfigRequest': request(
        v03.DeleteTaskPushNotificationConfigRequest,
        'delete_task_push_notification_config_request',
    ),
    'SendMessageResponse': response(
        v03.SendMessageSuccessResponse, v03.SendMessageResponse, 'send_message_response'
    ),
    'ListTaskPushNotificationConfigsResponse': response(
        v03.ListTaskPushNotificationConfigSuccessResponse,
        v03.ListTaskPushNotificationConfigResponse,
        'list_task_push_notification_config_response',
    ),
    'StreamResponse': STREAM_RESPONSE,
    'AgentInterface': plain(v03.AgentInterface, 'agent_interface'),
    'AgentCapabilities': plain(v03.AgentCapabilities, 'agent_capabilities'),
    'AgentSkill': plain(v03.AgentSkill, 'agent_skill'),
    'SecurityScheme': plain(v03.SecurityScheme, 'security_scheme'),
    'AgentCard': plain(v03.AgentCard, 'agent_card'),
}


def parse_v1(type_name: str, text: str) -> Message:
    return json_format.Parse(text, message_type(type_name)(), ignore_unknown_fields=True)


def message_type(name: str) -> type[Message]:
    if name not in a2a_pb2.DESCRIPTOR.message_types_by_name:
        raise ValueError(f'lf.a2a.v1 has no message {name!r}')
    return getattr(a2a_pb2, name)


def conversion(name: str) -> Conversion:
    if name not in CONVERSIONS:
        raise ValueError(f'no conversion of {name!r}; known: {", ".join(CONVERSIONS)}')
    return CONVERSIONS[name]


def encode(binary: bytes) -> str:
    return base64.b64encode(binary).decode()


def without_models(value: Any) -> Any:
    """Returns plain JSON values for a 0.3 result: a model or a list of models."""
    if isinstance(value, list):
        return [without_models(item) for item in value]
    return value.model_dump(mode='json', by_alias=True, exclude_none=True)


def parse(query: dict) -> dict:
    message = parse_v1(query['type'], query['json'])
    return {'binary': encode(message.SerializeToString(deterministic=True))}


def print_json(query: dict) -> dict:
    message = message_type(query['type']).FromString(base64.b64decode(query['binary']))
    return {'json': json_format.MessageToJson(message)}


def to_v03(query: dict) -> dict:
    core = parse_v1(query['type'], query['json'])
    compat = conversion(query['type']).to_v03(core)
    return {'json': json.dumps(without_models(compat), ensure_ascii=False)}


def to_v1(query: dict) -> dict:
    core = conversion(query['type']).to_v1(json.loads(query['json']))
    return {'json': json_format.MessageToJson(core)}


def descriptor(query: dict) -> dict:
    module = a2a_v0_3_pb2 if query.get('version') == '0.3' else a2a_pb2
    return {'binary': encode(module.DESCRIPTOR.serialized_pb)}


OPERATIONS = {
    'parse': parse,
    'print': print_json,
    'to_v03': to_v03,
    'to_v1': to_v1,
    'descriptor': descriptor,
}


def answer(line: str) -> dict:
    try:
        query = json.loads(line)
        return {'ok': True, **OPERATIONS[query['op']](query)}
    except Exception as error:
        return {'ok': False, 'error': f'{type(error).__name__}: {error}'}


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(answer(line)), flush=True)


if __name__ == '__main__':
    main()
