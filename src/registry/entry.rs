//! An agent between its row and its value: the document is ProtoJSON, its headers' values stand sealed beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Agent, AgentId, check};
use crate::config::{AgentSettings, Dialect, Spelled};
use crate::error::Error;
use crate::proto::admin;
use crate::proto::wkt::time;
use crate::store::{Cipher, Place, Row};

/// Stands for a header's value wherever it is shown; written back, it leaves the value as it is.
pub const REDACTED: &str = "[redacted]";

/// The secrets of an agent: the headers of each endpoint, in their order.
type Secrets = Vec<BTreeMap<String, String>>;

fn place(id: &str) -> Place<'_> {
    Place { table: "agents", column: "sealed", row: id }
}

/// The agent of a row. One that cannot be read is left out, and named in the log; one whose secrets cannot be opened
/// is not called.
pub fn from_row(row: &Row, cipher: &Cipher) -> Option<Agent> {
    let broken = |error: &dyn std::fmt::Display| {
        tracing::error!(table = "agents", id = row.id, %error, "a row is not as this release writes it: the agent is left out");
    };
    let mut about: admin::Agent = serde_json::from_str(&row.doc).map_err(|error| broken(&error)).ok()?;
    let (secrets, problem) = match open(row, cipher) {
        Ok(secrets) => (secrets, String::new()),
        Err(problem) => {
            tracing::error!(
                table = "agents",
                id = row.id,
                problem,
                "an agent's headers cannot be opened: it is not called"
            );
            (Secrets::new(), problem)
        }
    };
    for (endpoint, headers) in about.endpoints.iter_mut().zip(secrets) {
        endpoint.headers = headers;
    }
    let settings = check::settings_of(&about).map_err(|wrong| broken(&format!("{wrong:?}")));
    let mut settings = settings.ok()?;
    settings.is_served &= problem.is_empty();
    about = redacted(about);
    about.id.clone_from(&row.id);
    about.source = admin::AgentSource::Store.into();
    about.problem = problem;
    about.provenance = Some(provenance(row));
    Some(Agent { id: AgentId(row.id.as_str().into()), settings, about })
}

/// Who wrote a row and when.
pub fn provenance(row: &Row) -> admin::Provenance {
    admin::Provenance {
        revision: row.revision,
        create_time: Some(time(row.created_at)),
        created_by: row.created_by.clone(),
        update_time: Some(time(row.updated_at)),
        updated_by: row.updated_by.clone(),
    }
}

/// What is said of an agent of the configuration.
pub fn about_config(id: &AgentId, settings: &AgentSettings) -> admin::Agent {
    let endpoint = admin::Endpoint {
        url: settings.url.to_string(),
        weight: 1,
        bindings: settings.bindings.iter().map(|binding| binding.as_str().to_owned()).collect(),
        protocol_version: settings.protocol_version.map_or_else(String::new, |version| version.as_str().to_owned()),
        headers: settings.headers.keys().map(|name| (name.to_string(), REDACTED.to_owned())).collect(),
        allow_plaintext: false,
    };
    admin::Agent {
        id: id.to_string(),
        name: settings.name.to_string(),
        aliases: settings.aliases.clone(),
        description: settings.description.clone(),
        endpoints: vec![endpoint],
        card_url: settings.card_url.as_ref().map_or_else(String::new, ToString::to_string),
        serve_version: settings.serve_version.map_or_else(String::new, |version| version.as_str().to_owned()),
        trust_card_url: settings.trust_card_url,
        forward_headers: settings.forward_headers.iter().map(ToString::to_string).collect(),
        tags: settings.tags.clone(),
        enabled: Some(settings.is_served),
        public: settings.public,
        state: admin::AgentState::Approved.into(),
        limits: limits_of(settings),
        timeouts: timeouts_of(settings),
        task_scope: settings.task_scope.map_or_else(String::new, |scope| scope.as_str().to_owned()),
        client_contexts: settings.client_contexts.map_or_else(String::new, |contexts| contexts.as_str().to_owned()),
        dialect: about_dialect(settings.dialect),
        source: admin::AgentSource::Config.into(),
        ..Default::default()
    }
}

/// What is said, or was noted, of an agent's dialect; nothing where there is nothing to say.
pub fn about_dialect(dialect: Dialect) -> Option<admin::Dialect> {
    fn text<T: Spelled>(value: Option<T>) -> String {
        value.map_or_else(String::new, |value| value.as_str().to_owned())
    }
    (dialect != Dialect::default()).then(|| admin::Dialect {
        file_bytes: text(dialect.file_bytes),
        file_bytes_grpc: text(dialect.file_bytes_grpc),
        file_bytes_http_json: text(dialect.file_bytes_http_json),
        waiting: text(dialect.waiting),
        streaming: text(dialect.streaming),
        stream_text: text(dialect.stream_text),
        strict_requests: text(dialect.strict_requests),
    })
}

fn limits_of(settings: &AgentSettings) -> Option<admin::Limits> {
    let limits = admin::Limits {
        requests_per_minute_max: settings.rates.requests_per_minute_max,
        calls_max: settings.rates.calls_max,
        streams_max: settings.rates.streams_max,
        ..Default::default()
    };
    (limits != admin::Limits::default()).then_some(limits)
}

fn timeouts_of(settings: &AgentSettings) -> Option<admin::Timeouts> {
    let millis =
        |limit: Option<Duration>| limit.map_or(0, |limit| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX));
    let timeouts = admin::Timeouts {
        connect_ms: millis(settings.timeouts.connect),
        first_byte_ms: millis(settings.timeouts.first_byte),
        idle_ms: millis(settings.timeouts.idle),
        total_ms: millis(settings.timeouts.total),
    };
    (timeouts != admin::Timeouts::default()).then_some(timeouts)
}

/// The same agent without the values of its headers.
pub fn redacted(mut about: admin::Agent) -> admin::Agent {
    for value in about.endpoints.iter_mut().flat_map(|endpoint| endpoint.headers.values_mut()) {
        REDACTED.clone_into(value);
    }
    about
}

/// The names of an agent that must be its own.
pub fn names_of(about: &admin::Agent) -> Vec<&str> {
    [about.name.as_str()].into_iter().chain(about.aliases.iter().map(String::as_str)).collect()
}

/// The headers' values of an agent, encrypted for its row; empty when it has none.
pub fn sealed(about: &admin::Agent, id: &str, cipher: &Cipher) -> String {
    let secrets: Secrets = about.endpoints.iter().map(|endpoint| endpoint.headers.clone()).collect();
    if secrets.iter().all(BTreeMap::is_empty) {
        return String::new();
    }
    cipher.seal(place(id), &serde_json::to_string(&secrets).expect("texts can be written as JSON"))
}

/// Puts the values that are redacted in `about` back from its row: each to the endpoint of the same address, and only
/// there, or whoever may write an agent could have its secrets sent elsewhere.
///
/// # Errors
/// InvalidParams naming a value that is redacted and is not kept.
pub fn restore(about: &mut admin::Agent, row: &Row, cipher: &Cipher) -> Result<(), Error> {
    let is_redacted = |value: &String| value == REDACTED;
    if !about.endpoints.iter().any(|endpoint| endpoint.headers.values().any(is_redacted)) {
        return Ok(());
    }
    let before: admin::Agent = serde_json::from_str(&row.doc).unwrap_or_default();
    let secrets = open(row, cipher).map_err(|problem| Error::invalid("agent.endpoints", problem))?;
    for (at, endpoint) in about.endpoints.iter_mut().enumerate() {
        let has_same = |place: &usize| before.endpoints.get(*place).is_some_and(|known| known.url == endpoint.url);
        let same = Some(at).filter(has_same).or_else(|| (0..before.endpoints.len()).find(has_same));
        let known = same.and_then(|same| secrets.get(same));
        for (name, value) in endpoint.headers.iter_mut().filter(|(_, value)| *value == REDACTED) {
            let secret = known.and_then(|known| known.get(name)).ok_or_else(|| {
                let field = format!("agent.endpoints[{at}].headers[{name:?}]");
                Error::invalid(field, "stands for a value that is not kept for this address: write the value itself")
            })?;
            value.clone_from(secret);
        }
    }
    Ok(())
}

/// What was sealed under a former key, under the current one.
pub(super) fn sealed_anew(row: &Row, cipher: &Cipher) -> Option<String> {
    let secrets = cipher.open(place(&row.id), &row.sealed).ok()?;
    Some(cipher.seal(place(&row.id), &secrets))
}

fn open(row: &Row, cipher: &Cipher) -> Result<Secrets, String> {
    if row.sealed.is_empty() {
        return Ok(Secrets::new());
    }
    let opened = cipher.open(place(&row.id), &row.sealed).map_err(|error| format!("what is sealed {error}"))?;
    serde_json::from_str(&opened).map_err(|_| "what is sealed is not as this release writes it".to_owned())
}
