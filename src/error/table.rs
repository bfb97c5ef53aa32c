//! The table of errors: what each kind is called and which code it has, on every wire and in both versions.

use super::Origin;

/// Why a call failed, as far as its caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    TaskNotFound,
    TaskNotCancelable,
    PushNotificationNotSupported,
    UnsupportedOperation,
    ContentTypeNotSupported,
    InvalidAgentResponse,
    ExtendedAgentCardNotConfigured,
    ExtensionSupportRequired,
    VersionNotSupported,

    Parse,
    InvalidRequest,
    MethodNotFound,
    InvalidParams,
    Internal,

    Unauthenticated,
    AgentNotFound,
    PathNotFound,
    VerbNotAllowed,
    RequestTooLarge,
    UnsupportedMediaType,
    RequestTimeout,
    Overloaded,
    Canceled,
    DeadlineExceeded,
    UpstreamUnavailable,
    UpstreamRefused,
    AgentFailed,
    PermissionDenied,
    RateLimited,
    NotFound,
    AlreadyExists,
    Aborted,
}

/// Every kind, in the order of the table.
pub const KINDS: [Kind; 32] = [
    Kind::TaskNotFound,
    Kind::TaskNotCancelable,
    Kind::PushNotificationNotSupported,
    Kind::UnsupportedOperation,
    Kind::ContentTypeNotSupported,
    Kind::InvalidAgentResponse,
    Kind::ExtendedAgentCardNotConfigured,
    Kind::ExtensionSupportRequired,
    Kind::VersionNotSupported,
    Kind::Parse,
    Kind::InvalidRequest,
    Kind::MethodNotFound,
    Kind::InvalidParams,
    Kind::Internal,
    Kind::Unauthenticated,
    Kind::AgentNotFound,
    Kind::PathNotFound,
    Kind::VerbNotAllowed,
    Kind::RequestTooLarge,
    Kind::UnsupportedMediaType,
    Kind::RequestTimeout,
    Kind::Overloaded,
    Kind::Canceled,
    Kind::DeadlineExceeded,
    Kind::UpstreamUnavailable,
    Kind::UpstreamRefused,
    Kind::AgentFailed,
    Kind::PermissionDenied,
    Kind::RateLimited,
    Kind::NotFound,
    Kind::AlreadyExists,
    Kind::Aborted,
];

/// The gRPC status codes that our rows use, with their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Code {
    /// The name in `google.rpc.Code`, as AIP-193 writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

/// How a kind looks on the wires of A2A 1.0.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `google.rpc.ErrorInfo.reason`.
    pub reason: &'static str,
    /// gRPC and Connect.
    pub grpc: Code,
    pub jsonrpc: i32,
    pub http: u16,
    /// The same in A2A 0.3.
    pub legacy: Legacy,
}

/// How a kind looks on the wires of A2A 0.3.
#[derive(Clone, Copy, Debug)]
pub struct Legacy {
    /// The error's name, which 0.3 puts before the text of a gRPC status and into `type` on HTTP+JSON.
    pub name: &'static str,
    pub grpc: Code,
    pub jsonrpc: i32,
    pub http: u16,
}

const fn row(reason: &'static str, grpc: Code, jsonrpc: i32, http: u16, legacy: Legacy) -> Row {
    Row { reason, grpc, jsonrpc, http, legacy }
}

const fn old(name: &'static str, grpc: Code, jsonrpc: i32, http: u16) -> Legacy {
    Legacy { name, grpc, jsonrpc, http }
}

impl Kind {
    /// How this kind looks on every wire. First block: A2A 1.0, section 5.4. Second: JSON-RPC 2.0. Third: ours. Fourth: access, limits and the admin API.
    /// The codes of 0.3 are those that its Python SDK sends, but for two by gRPC, which the JavaScript SDK tells apart by
    /// FAILED_PRECONDITION and nobody by another; what 0.3 does not know is an internal error there.
    #[rustfmt::skip]
    pub const fn row(self) -> Row {
        use Code::{Aborted, AlreadyExists, Cancelled, DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument, NotFound,
            PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable, Unimplemented, Unknown};
        match self {
            //                                         reason                              gRPC, Connect       JSON-RPC HTTP      0.3 name                                       gRPC             JSON-RPC HTTP
            Self::TaskNotFound                   => row("TASK_NOT_FOUND",                    NotFound,           -32001, 404, old("TaskNotFoundError",                             NotFound,          -32001, 404)),
            Self::TaskNotCancelable              => row("TASK_NOT_CANCELABLE",               FailedPrecondition, -32002, 400, old("TaskNotCancelableError",                        FailedPrecondition,-32002, 409)),
            Self::PushNotificationNotSupported   => row("PUSH_NOTIFICATION_NOT_SUPPORTED",   FailedPrecondition, -32003, 400, old("PushNotificationNotSupportedError",             Unimplemented,     -32003, 501)),
            Self::UnsupportedOperation           => row("UNSUPPORTED_OPERATION",             FailedPrecondition, -32004, 400, old("UnsupportedOperationError",                     Unimplemented,     -32004, 501)),
            Self::ContentTypeNotSupported        => row("CONTENT_TYPE_NOT_SUPPORTED",        InvalidArgument,    -32005, 400, old("ContentTypeNotSupportedError",                  Unimplemented,     -32005, 415)),
            Self::InvalidAgentResponse           => row("INVALID_AGENT_RESPONSE",            Internal,           -32006, 500, old("InvalidAgentResponseError",                     Internal,          -32006, 502)),
            Self::ExtendedAgentCardNotConfigured => row("EXTENDED_AGENT_CARD_NOT_CONFIGURED", FailedPrecondition, -32007, 400, old("AuthenticatedExtendedCardNotConfiguredError",  FailedPrecondition,-32007, 404)),
            Self::ExtensionSupportRequired       => row("EXTENSION_SUPPORT_REQUIRED",        FailedPrecondition, -32008, 400, old("InternalError",                                 Internal,          -32603, 500)),
            Self::VersionNotSupported            => row("VERSION_NOT_SUPPORTED",             FailedPrecondition, -32009, 400, old("InternalError",                                 Internal,          -32603, 500)),

            Self::Parse                          => row("PARSE_ERROR",                       InvalidArgument,    -32700, 400, old("JSONParseError",                                Internal,          -32700, 400)),
            Self::InvalidRequest                 => row("INVALID_REQUEST",                   InvalidArgument,    -32600, 400, old("InvalidRequestError",                           InvalidArgument,   -32600, 400)),
            Self::MethodNotFound                 => row("METHOD_NOT_FOUND",                  Unimplemented,      -32601, 404, old("MethodNotFoundError",                           NotFound,          -32601, 404)),
            Self::InvalidParams                  => row("INVALID_PARAMS",                    InvalidArgument,    -32602, 400, old("InvalidParamsError",                            InvalidArgument,   -32602, 422)),
            Self::Internal                       => row("INTERNAL_ERROR",                    Internal,           -32603, 500, old("InternalError",                                 Internal,          -32603, 500)),

            Self::Unauthenticated                => row("UNAUTHENTICATED",                   Unauthenticated,    -32000, 401, old("UnauthenticatedError",                          Unauthenticated,   -32000, 401)),
            Self::AgentNotFound                  => row("AGENT_NOT_FOUND",                   NotFound,           -32000, 404, old("AgentNotFoundError",                            NotFound,          -32000, 404)),
            Self::PathNotFound                   => row("PATH_NOT_FOUND",                    Unimplemented,      -32601, 404, old("MethodNotFoundError",                           Unimplemented,     -32601, 404)),
            Self::VerbNotAllowed                 => row("VERB_NOT_ALLOWED",                  Unimplemented,      -32600, 405, old("InvalidRequestError",                           Unimplemented,     -32600, 405)),
            Self::RequestTooLarge                => row("REQUEST_TOO_LARGE",                 ResourceExhausted,  -32000, 413, old("RequestTooLargeError",                          ResourceExhausted, -32000, 413)),
            Self::UnsupportedMediaType           => row("UNSUPPORTED_MEDIA_TYPE",            InvalidArgument,    -32000, 415, old("UnsupportedMediaTypeError",                     InvalidArgument,   -32000, 415)),
            Self::RequestTimeout                 => row("REQUEST_TIMEOUT",                   Cancelled,          -32000, 408, old("RequestTimeoutError",                           Cancelled,         -32000, 408)),
            Self::Overloaded                     => row("OVERLOADED",                        Unavailable,        -32000, 503, old("OverloadedError",                               Unavailable,       -32000, 503)),
            Self::Canceled                       => row("CANCELED",                          Cancelled,          -32000, 499, old("CanceledError",                                 Cancelled,         -32000, 499)),
            Self::DeadlineExceeded               => row("DEADLINE_EXCEEDED",                 DeadlineExceeded,   -32603, 504, old("InternalError",                                 DeadlineExceeded,  -32603, 504)),
            Self::UpstreamUnavailable            => row("UPSTREAM_UNAVAILABLE",              Unavailable,        -32603, 503, old("InternalError",                                 Unavailable,       -32603, 503)),
            Self::UpstreamRefused                => row("UPSTREAM_REFUSED",                  Unavailable,        -32603, 502, old("InternalError",                                 Unavailable,       -32603, 502)),
            Self::AgentFailed                    => row("AGENT_FAILED",                      Unknown,            -32603, 500, old("InternalError",                                 Unknown,           -32603, 500)),

            Self::PermissionDenied               => row("PERMISSION_DENIED",                 PermissionDenied,   -32000, 403, old("PermissionDeniedError",                         PermissionDenied,  -32000, 403)),
            Self::RateLimited                    => row("RATE_LIMITED",                      ResourceExhausted,  -32000, 429, old("RateLimitedError",                              ResourceExhausted, -32000, 429)),
            Self::NotFound                       => row("NOT_FOUND",                         NotFound,           -32000, 404, old("NotFoundError",                                 NotFound,          -32000, 404)),
            Self::AlreadyExists                  => row("ALREADY_EXISTS",                    AlreadyExists,      -32000, 409, old("AlreadyExistsError",                            AlreadyExists,     -32000, 409)),
            Self::Aborted                        => row("ABORTED",                           Aborted,            -32000, 409, old("AbortedError",                                  Aborted,           -32000, 409)),
        }
    }

    /// `google.rpc.ErrorInfo.domain`: A2A's own for what A2A and JSON-RPC define, ours for the rest.
    pub const fn domain(self) -> &'static str {
        if (self as usize) <= (Self::Internal as usize) { "a2a-protocol.org" } else { "switchboard" }
    }

    /// The kind that an agent's JSON-RPC error code stands for; what we do not know is [`Kind::AgentFailed`].
    pub fn from_jsonrpc(code: i64) -> Self {
        let known = KINDS.iter().copied().find(|kind| {
            let standard = (*kind as usize) <= (Self::Internal as usize);
            standard && i64::from(kind.row().jsonrpc) == code
        });
        known.unwrap_or(Self::AgentFailed)
    }

    /// The kind that an agent's `google.rpc.ErrorInfo.reason` stands for, if A2A defines it.
    pub fn from_reason(reason: &str) -> Option<Self> {
        KINDS.iter().copied().find(|kind| (*kind as usize) <= (Self::Internal as usize) && kind.row().reason == reason)
    }

    /// The kind that a bare gRPC status of an agent stands for.
    pub const fn from_status(code: i32) -> Self {
        match code {
            1 => Self::Canceled,
            3 => Self::InvalidParams,
            4 => Self::DeadlineExceeded,
            // All that A2A looks up are tasks and what belongs to them.
            5 => Self::TaskNotFound,
            8 => Self::Overloaded,
            // 7 is PERMISSION_DENIED: the agent does not let the gateway in.
            7 | 16 => Self::UpstreamRefused,
            12 => Self::UnsupportedOperation,
            13 => Self::Internal,
            14 => Self::UpstreamUnavailable,
            _ => Self::AgentFailed,
        }
    }

    /// Who usually has to fix an error of this kind.
    pub const fn usual_origin(self) -> Origin {
        match self {
            Self::InvalidAgentResponse | Self::UpstreamUnavailable | Self::UpstreamRefused | Self::AgentFailed => {
                Origin::Agent
            }
            Self::Internal | Self::Overloaded | Self::DeadlineExceeded => Origin::Gateway,
            _ => Origin::Caller,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_every_kind_once_and_in_order() {
        for (at, kind) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, at);
        }
    }

    #[test]
    fn gives_every_kind_a_reason_of_its_own() {
        let mut reasons: Vec<_> = KINDS.iter().map(|kind| kind.row().reason).collect();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(reasons.len(), KINDS.len());
    }

    #[test]
    fn never_shows_a_0_3_caller_a_code_that_0_3_does_not_know() {
        for kind in KINDS {
            let code = kind.row().legacy.jsonrpc;
            let known =
                (-32007..=-32001).contains(&code) || [-32700, -32600, -32601, -32602, -32603, -32000].contains(&code);
            assert!(known, "{kind:?} {code}");
        }
    }

    #[test]
    fn reads_an_agents_codes() {
        assert_eq!(Kind::from_jsonrpc(-32001), Kind::TaskNotFound);
        assert_eq!(Kind::from_jsonrpc(-32009), Kind::VersionNotSupported);
        assert_eq!(Kind::from_jsonrpc(-32603), Kind::Internal);
        assert_eq!(Kind::from_jsonrpc(-32000), Kind::AgentFailed);
        assert_eq!(Kind::from_jsonrpc(7), Kind::AgentFailed);
    }
}
