//! Addresses that may be called, and who named them.

use std::time::Duration;

use http::header::LOCATION;
use http::{HeaderMap, Uri};
use url::Url;

use super::OutboundError;
use crate::config::Trust;

/// An address that may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub(super) uri: Uri,
    pub(super) named_by: NamedBy,
    /// Whom TLS believes there; none for the system's authorities.
    pub(super) trust: Option<Trust>,
    /// To connect, where it is not as long as everywhere.
    pub(super) connect_timeout: Option<Duration>,
}

/// Who named an address, and so where it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedBy {
    /// Wherever it is.
    Operator,
    /// A card or an administrator: where it is public, or `outbound.allow` has it.
    Claim,
    /// A caller, for notifications: where it is public, or `push.allow` has it.
    Webhook,
}

impl Destination {
    /// An address from the operator's configuration: wherever it is.
    ///
    /// # Errors
    /// Forbidden for what is a URL and no URI; the configuration refuses such.
    pub fn registered(url: &Url) -> Result<Self, OutboundError> {
        Ok(Self { uri: to_uri(url)?, named_by: NamedBy::Operator, trust: None, connect_timeout: None })
    }

    /// The same address, which passes the guard if somebody wrote it over the API and not into the configuration.
    #[must_use]
    pub fn guarded_if(mut self, is_guarded: bool) -> Self {
        if is_guarded && self.named_by == NamedBy::Operator {
            self.named_by = NamedBy::Claim;
        }
        self
    }

    /// The same address, where TLS believes these authorities instead of the system's.
    #[must_use]
    pub fn trusting(mut self, trust: Option<Trust>) -> Self {
        self.trust = trust;
        self
    }

    /// The same address, with a time to connect of its own.
    #[must_use]
    pub fn connecting_within(mut self, limit: Option<Duration>) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The address `path_and_query` below this one, which keeps its own path. None when it is too long for a URI.
    pub fn below(&self, path_and_query: &str) -> Option<Self> {
        let mut parts = self.uri.clone().into_parts();
        let mut whole = format!("{}{path_and_query}", self.uri.path().trim_end_matches('/'));
        if let Some(query) = self.uri.query() {
            whole.push(if path_and_query.contains('?') { '&' } else { '?' });
            whole += query;
        }
        parts.path_and_query = Some(whole.parse().ok()?);
        Some(Self { uri: Uri::from_parts(parts).ok()?, ..self.clone() })
    }

    /// Scheme, host, port, and a path without a slash at its end.
    pub fn origin(&self) -> Uri {
        let mut parts = self.uri.clone().into_parts();
        let path = self.uri.path().trim_end_matches('/');
        parts.path_and_query = Some(if path.is_empty() { "/" } else { path }.parse().expect("a part of a path"));
        Uri::from_parts(parts).expect("as whole as before")
    }

    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Another address at the same scheme, host and port, with the same rights.
    pub fn at(&self, url: &Url) -> Option<Self> {
        let uri = to_uri(url).ok().filter(|_| url.username().is_empty() && url.password().is_none())?;
        same_origin(&self.uri, &uri).then(|| Self { uri, ..self.clone() })
    }

    /// Where an answer from here redirects to by its `Location`, which may be relative; none outside this origin.
    pub fn redirected(&self, headers: &HeaderMap) -> Option<Self> {
        let location = headers.get(LOCATION)?.to_str().ok()?;
        let base = Url::parse(&self.uri.to_string()).ok()?;
        self.at(&base.join(location).ok()?)
    }
}

/// A URL may hold what a URI may not, and be longer: cards and redirects are written by others.
pub(super) fn to_uri(url: &Url) -> Result<Uri, OutboundError> {
    url.as_str().parse().map_err(|_| OutboundError::Forbidden("it is no URI that can be called".to_owned()))
}

fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    a.scheme() == b.scheme() && a.host() == b.host() && port(a) == port(b)
}
