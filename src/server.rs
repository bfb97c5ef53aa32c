//! The process: puts the parts together, opens the port, and takes everything down in order.
//!
//! This is the only place that spawns tasks, and it tracks them all. Stopping goes from the outside in: no new
//! connections, a grace for calls under way, a last event for streams, routing, and the ledger last, for every call
//! that was cut off still has its record to write.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Access;
use crate::bindings::Doors;
use crate::call::AgentName;
use crate::clock::Clock;
use crate::config::{RecordOutput, Settings};
use crate::error::Error;
use crate::gateway::{Gateway, Parts};
use crate::ledger::{Ledger, Sink};
use crate::outbound::Outbound;
use crate::ownership::Ownership;
use crate::registry::Registry;
use crate::routing::Routing;
use crate::store::{OpenError, Store, generated_master_key};
use crate::tasks::Relay;
use crate::upstream::Upstream;
use crate::wire::body::Budget;
use crate::{admin, bindings};

mod accept;
mod connection;
mod tls;

use tls::Tls;

/// Of the drain time, what is kept for the last answers and events.
const LAST_EVENTS: Duration = Duration::from_millis(500);

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("what is in the store cannot be read: {0}")]
    Load(Error),
    /// Of the port or the certificate.
    #[error(transparent)]
    Listen(#[from] io::Error),
}

/// A gateway that listens.
pub struct Server {
    address: SocketAddr,
    gateway: Arc<Gateway>,
    doors: TaskTracker,
    routing: TaskTracker,
    directory: TaskTracker,
    ownership: TaskTracker,
    ledger: TaskTracker,
    store: Arc<Store>,
    stop_accepting: CancellationToken,
    end_calls: CancellationToken,
    cut_off: CancellationToken,
    stop_routing: CancellationToken,
    stop_directory: CancellationToken,
    stop_ownership: CancellationToken,
    stop_ledger: CancellationToken,
    drain: Duration,
}

impl Server {
    /// Opens the port and starts to serve.
    ///
    /// # Errors
    /// The store cannot be opened, the certificate is of no use any more, or the port cannot be opened.
    pub async fn start(settings: Settings, sink: Option<Sink>) -> Result<Self, StartError> {
        let settings = Arc::new(with_master_key(settings)?);
        let store = Arc::new(Store::open(&settings.store, Clock).await?);
        let tls = settings.tls.as_ref().map(Tls::new).transpose()?.map(Arc::new);
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let mut own_listeners = Vec::new();
        for (address, agent) in settings.own_listeners() {
            own_listeners.push((TcpListener::bind(address).await?, agent));
        }
        let own_addresses = own_listeners.iter().map(|(listener, agent)| Ok((agent.clone(), listener.local_addr()?)));
        let own_addresses: Vec<_> = own_addresses.collect::<io::Result<_>>()?;
        let usual_sink = match settings.log.records {
            RecordOutput::Stdout => Sink::Stdout,
            RecordOutput::Stderr => Sink::Stderr,
        };
        let (ledger, writer) = Ledger::new(settings.limits.calls_max, sink.unwrap_or(usual_sink), Clock);
        let end_calls = CancellationToken::new();
        let opened = Ownership::open(Arc::clone(&store), &settings.tasks, settings.limits.calls_max).await;
        let (ownership, owners) = opened.map_err(StartError::Load)?;
        let (gateway, routing) =
            gateway(&settings, Arc::clone(&store), ledger, ownership, own_addresses, end_calls.clone());
        gateway.load().await.map_err(StartError::Load)?;
        let server = Self {
            address,
            doors: TaskTracker::new(),
            routing: TaskTracker::new(),
            directory: TaskTracker::new(),
            ownership: TaskTracker::new(),
            ledger: TaskTracker::new(),
            store: Arc::clone(&store),
            stop_accepting: CancellationToken::new(),
            end_calls,
            cut_off: CancellationToken::new(),
            stop_routing: CancellationToken::new(),
            stop_directory: CancellationToken::new(),
            stop_ownership: CancellationToken::new(),
            stop_ledger: CancellationToken::new(),
            drain: settings.timeouts.drain,
            gateway: Arc::clone(&gateway),
        };
        server.ledger.spawn(writer.run(server.stop_ledger.clone()));
        server.ownership.spawn(owners.run(server.stop_ownership.clone()));
        server.routing.spawn(routing.run(server.stop_routing.clone()));
        let following = Arc::clone(&gateway).follow(settings.store.poll, server.stop_directory.clone());
        server.directory.spawn(following);
        let (config, stop) = (Arc::clone(&settings), server.stop_directory.clone());
        server.directory.spawn(async move { store.listen(&config.store, stop).await });
        let doors = Doors::new(gateway, server.stop_accepting.clone());
        let app = bindings::router(doors.clone()).merge(admin::router(doors));
        let app = bindings::for_browsers(app, &settings);
        if let Some(tls) = &tls {
            server.doors.spawn(Arc::clone(tls).run(server.stop_accepting.clone()));
        }
        let places = Arc::new(Semaphore::new(settings.limits.connections_max));
        let listeners = own_listeners.into_iter().map(|(listener, agent)| (listener, Some(agent)));
        for (listener, agent) in std::iter::once((listener, None)).chain(listeners) {
            let acceptor = accept::Acceptor {
                app: app.clone(),
                tls: tls.clone(),
                settings: Arc::clone(&settings),
                agent,
                places: Arc::clone(&places),
                tasks: server.doors.clone(),
                stop: server.stop_accepting.clone(),
                cut_off: server.cut_off.clone(),
            };
            server.doors.spawn(acceptor.run(listener));
        }
        Ok(server)
    }

    /// Follows the configuration file from which it was started.
    pub fn follow_file(&self, path: PathBuf) {
        self.directory.spawn(Arc::clone(&self.gateway).follow_file(path, self.stop_directory.clone()));
    }

    /// Where it listens; the port that the system chose when the configuration says 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls that are under way.
    pub fn open_calls(&self) -> usize {
        self.gateway.open_calls()
    }

    /// Stops in order. Calls under way may end within the drain time; then each gets an error that says so, and
    /// what is left is cut off. What agents are doing goes on.
    pub async fn stop(self) {
        self.stop_accepting.cancel();
        self.doors.close();
        let grace = self.drain.saturating_sub(LAST_EVENTS);
        if timeout(grace, self.doors.wait()).await.is_err() {
            self.end_calls.cancel();
            if timeout(LAST_EVENTS, self.doors.wait()).await.is_err() {
                self.cut_off.cancel();
                self.doors.wait().await;
            }
        }
        let parts = [
            (&self.routing, &self.stop_routing),
            (&self.directory, &self.stop_directory),
            (&self.ownership, &self.stop_ownership),
            (&self.ledger, &self.stop_ledger),
        ];
        for (tasks, stop) in parts {
            tasks.close();
            stop.cancel();
            tasks.wait().await;
        }
        self.store.close().await;
    }
}

/// Somebody must be able to call: where the configuration names nobody, the key that was made once.
fn with_master_key(settings: Settings) -> Result<Settings, OpenError> {
    if settings.master_key.is_some() || !settings.keys.is_empty() {
        return Ok(settings);
    }
    let (key, path) = generated_master_key(&settings.store, Clock)?;
    tracing::info!(path = %path.display(), "there is no master_key and no keys: the master key is in this file");
    Ok(Settings { master_key: Some(key), ..settings })
}

fn gateway(
    settings: &Arc<Settings>,
    store: Arc<Store>,
    ledger: Ledger,
    ownership: Ownership,
    own_addresses: Vec<(AgentName, SocketAddr)>,
    ending: CancellationToken,
) -> (Arc<Gateway>, Arc<Routing>) {
    let registry = Registry::new(&settings.agents);
    let budget = Budget::new(settings.limits.in_flight_bytes_max);
    let (outbound, webhooks) = (settings.outbound.clone(), settings.push.allow.clone());
    let outbound = Arc::new(Outbound::new(outbound, webhooks, settings.timeouts.connect));
    let upstream = Upstream {
        outbound: Arc::clone(&outbound),
        budget: budget.clone(),
        clock: Clock,
        settings: Arc::clone(settings),
    };
    let routing = Arc::new(Routing::new(upstream));
    let gateway = Gateway::new(Parts {
        access: Access::new(settings, Arc::clone(&store), Clock),
        relay: Relay::new(settings, Arc::clone(&store), outbound, Clock),
        store,
        routing: Arc::clone(&routing),
        registry,
        ledger,
        ownership,
        settings: Arc::clone(settings),
        own_addresses,
        budget,
        clock: Clock,
        ending,
    });
    (Arc::new(gateway), routing)
}
