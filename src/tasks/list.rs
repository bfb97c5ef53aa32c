//! ListTasks (A2A 3.1.4), for agents of either version: which tasks there are, in which order and how many, is known
//! here; what is in them, and whether they have gone on, the agent is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use super::Tasks;
use crate::access::Permitted;
use crate::call::{Answer, Call, CallId, Content, Peek, Reply, ReplyBody, ReplyMeta, Response};
use crate::error::{Error, Kind};
use crate::limits::Limits;
use crate::operation::{Operation, Rpc, Version};
use crate::ownership::owners;
use crate::proto::{self, TaskState, wkt};
use crate::store::{OwnedRow, TasksOf};
use crate::wire::content;

/// Tasks that one list asks an agent about at once.
const FETCHED_AT_ONCE: usize = 8;
/// A2A 3.1.4: when the caller says nothing.
const PAGE_SIZE: i32 = 50;
/// The member of a task's metadata that says why it is shown as it was last seen.
const STALE: &str = "switchboard/stale";

/// What the agent says of tasks, or why it says nothing, by their ids.
type Seen = HashMap<String, Result<proto::Task, String>>;

/// One list that is being answered.
struct Listing<'a> {
    permitted: &'a Permitted<'a>,
    request: &'a proto::ListTasksRequest,
    until: Instant,
    /// The agent did not answer, so it is not asked again.
    is_away: AtomicBool,
    requests: AtomicU32,
}

impl Tasks {
    pub(super) async fn list(
        &self,
        permitted: &Permitted<'_>,
        request: &proto::ListTasksRequest,
    ) -> Result<Reply, Error> {
        let call = permitted.call();
        let scope = self.ownership.scope(permitted.agent());
        let owners = owners(scope, &call.caller);
        let state = match request.status() {
            TaskState::Unspecified => "",
            state => state.as_str_name(),
        };
        let all = TasksOf {
            agent_id: &permitted.agent().id.0,
            owners: &owners,
            context_id: &request.context_id,
            state,
            since: request.status_timestamp_after.as_ref().map(|time| wkt::micros(time.seconds, time.nanos)),
            ..TasksOf::default()
        };
        let pages = Pages { tasks: self, list: format!("{all:?}") };
        let after = pages.after(&request.page_token)?;
        let listing = Listing {
            permitted,
            request,
            until: self.clock.instant() + self.settings.list,
            is_away: AtomicBool::new(false),
            requests: AtomicU32::new(0),
        };
        self.routing.check_tenant(permitted).await?;
        self.ownership.flush().await?;
        let mut seen = Seen::new();
        if after.is_none() {
            // Before anything is filtered: a task may have gone on while nobody looked.
            let open = TasksOf { state: "", since: None, is_open: true, ..all };
            let open = self.store.tasks(open, self.settings.refreshes_max).await?;
            seen = self.fetch(&listing, open).await;
            self.ownership.flush().await?;
        }
        let list = self.page(&listing, all, &pages, after, seen).await?;
        let content = Content::Typed(Box::new(Response::ListTasks(list)));
        let answer = Answer { rpc: Rpc::ListTasks, content, peek: Peek::default() };
        let meta = ReplyMeta { attempts: listing.requests.into_inner(), ..ReplyMeta::default() };
        Ok(Reply { meta, body: ReplyBody::One(answer) })
    }

    /// The page that follows `after`, with what the agent says of the tasks that were not `seen` before.
    async fn page(
        &self,
        listing: &Listing<'_>,
        all: TasksOf<'_>,
        pages: &Pages<'_>,
        after: Option<PageEnd>,
        mut seen: Seen,
    ) -> Result<proto::ListTasksResponse, Error> {
        let request = listing.request;
        let size = request.page_size.unwrap_or(PAGE_SIZE);
        let rows_max = usize::try_from(size).unwrap_or(1);
        let page = TasksOf { after: after.as_ref().map(|end| (end.at, end.id.as_str())), ..all };
        let mut rows = self.store.tasks(page, rows_max + 1).await?;
        let total = match &after {
            None => self.store.count_tasks(all).await?,
            Some(end) => end.total,
        };
        let has_more = rows.len() > rows_max;
        rows.truncate(rows_max);
        let next = rows.last().filter(|_| has_more).map(|last| pages.token(last, total)).unwrap_or_default();
        let unseen = rows.iter().filter(|row| !seen.contains_key(&row.id)).cloned().collect();
        seen.extend(self.fetch(listing, unseen).await);
        Ok(proto::ListTasksResponse {
            tasks: rows.iter().filter_map(|row| shown(row, seen.remove(&row.id), request)).collect(),
            next_page_token: next,
            page_size: size,
            total_size: i32::try_from(total).unwrap_or(i32::MAX),
        })
    }

    /// Asks the agent about tasks, a few at once.
    async fn fetch(&self, listing: &Listing<'_>, rows: Vec<OwnedRow>) -> Seen {
        let get = |row: OwnedRow| async move {
            let id = row.id.clone();
            (id, self.get(listing, row).await.map_err(|error| why(&error)))
        };
        stream::iter(rows)
            .map(get)
            .buffer_unordered(Limits::parts_at_once(listing.permitted, FETCHED_AT_ONCE))
            .collect()
            .await
    }

    /// Gets one task in the caller's name, as the caller could: within its limits, and withheld if it is not its own.
    async fn get(&self, listing: &Listing<'_>, row: OwnedRow) -> Result<proto::Task, Error> {
        let away = || Error::new(Kind::UpstreamUnavailable, "the agent does not answer");
        if listing.is_away.load(Ordering::Relaxed) {
            return Err(away());
        }
        let (permitted, request) = (listing.permitted, listing.request);
        let get = proto::GetTaskRequest {
            tenant: request.tenant.clone(),
            id: row.id.clone(),
            history_length: request.history_length,
        };
        let of = permitted.call();
        let call = Call {
            id: CallId(self.clock.uuid()),
            operation: Operation::GetTask(get),
            raw: None,
            rpc_id: None,
            // The request is in the words of 1.0, whoever asks.
            version: Version::V1_0,
            deadline: None,
            parent: Some(of.id),
            ..of.clone()
        };
        let reserved = self.limits.part(permitted.part(&call, Arc::new(row)))?;
        listing.requests.fetch_add(1, Ordering::Relaxed);
        let answer = timeout_at(listing.until, self.answer(&reserved, None)).await.unwrap_or_else(|_| Err(away()));
        let answer = answer.inspect_err(|error| {
            if matches!(error.kind(), Kind::UpstreamUnavailable | Kind::DeadlineExceeded) {
                listing.is_away.store(true, Ordering::Relaxed);
            }
        })?;
        content::task_in(answer)
    }
}

/// Why the agent's word on a task is missing, for whoever reads the list.
fn why(error: &Error) -> String {
    let text = match error.kind() {
        Kind::TaskNotFound => "the agent does not know the task any more",
        Kind::RateLimited => "a limit was reached before the agent was asked",
        Kind::UpstreamUnavailable | Kind::DeadlineExceeded => "the agent does not answer",
        Kind::InvalidAgentResponse => "the agent's answer was none",
        _ => "the agent refused",
    };
    format!("{text}: this is what was last seen of it")
}

/// A task as the list has it. None for one that has gone on since its row was read, and does not belong into the list.
fn shown(
    row: &OwnedRow,
    seen: Option<Result<proto::Task, String>>,
    request: &proto::ListTasksRequest,
) -> Option<proto::Task> {
    let unasked = || Err("the agent was not asked: this is what was last seen of it".to_owned());
    let mut task = match seen.unwrap_or_else(unasked) {
        Ok(task) => task,
        Err(why) => return Some(last_seen(row, why)),
    };
    let state = task.status.as_ref().map_or(TaskState::Unspecified, proto::TaskStatus::state);
    if request.status() != TaskState::Unspecified && request.status() != state {
        return None;
    }
    if !request.include_artifacts() {
        task.artifacts.clear();
    }
    if let Some(length) = request.history_length {
        content::keep_latest(&mut task, length);
    }
    Some(task)
}

fn last_seen(row: &OwnedRow, why: String) -> proto::Task {
    let status = proto::TaskStatus {
        state: TaskState::from_str_name(&row.state).unwrap_or(TaskState::Unspecified).into(),
        message: None,
        timestamp: Some(wkt::time(row.state_at)),
    };
    let why = proto::Value { kind: Some(proto::value::Kind::StringValue(why)) };
    proto::Task {
        id: row.id.clone(),
        context_id: row.context_id.clone(),
        status: Some(status),
        metadata: Some(proto::Struct { fields: [(STALE.to_owned(), why)].into() }),
        ..proto::Task::default()
    }
}

/// Where a page ended.
struct PageEnd {
    /// Of the whole list, as the first page had it.
    total: i64,
    at: i64,
    id: String,
}

/// Where pages end, sealed for one caller, agent and filter: no other list takes them.
struct Pages<'a> {
    tasks: &'a Tasks,
    list: String,
}

impl Pages<'_> {
    /// Where the page before ended; none for the first.
    fn after(&self, token: &str) -> Result<Option<PageEnd>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        let end = self.tasks.store.cipher().page_end("ListTasks", &self.list, token);
        let read = end.and_then(|text| {
            let mut parts = text.splitn(3, ' ');
            let mut number = || parts.next()?.parse::<i64>().ok();
            let (total, at) = (number()?, number()?);
            Some(PageEnd { total, at, id: parts.next()?.to_owned() })
        });
        let wrong = "is none of this list: it goes with the same key, agent and filters; leave it out to begin anew";
        read.map(Some).ok_or_else(|| Error::invalid("pageToken", wrong))
    }

    fn token(&self, last: &OwnedRow, total: i64) -> String {
        let end = format!("{total} {} {}", last.state_at, last.id);
        self.tasks.store.cipher().page_token("ListTasks", &self.list, &end)
    }
}
