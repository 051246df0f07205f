//! One HTTP/1.1 request on a connection of its own.
//!
//! Owns connecting and the limits of time. It never prints an answer and never repeats a request: callers know whether
//! asking again is right. Of several daemons it asks the first that can be reached.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::answer::{Answer, BodyStream};
use crate::connect::{ByteStream, Connect, Route, SocketConnector, probe_tunnel};
use crate::error::ClientError;
use crate::limits::Limits;
use crate::observer::RequestObserver;
use crate::request::ApiRequest;

/// The program's name in requests, until it says another.
const NAME: &str = concat!("muster-client/", env!("CARGO_PKG_VERSION"));

/// Asks one daemon. Clones are the same client: the daemon that one of them has reached is asked first by all.
#[derive(Debug, Clone)]
pub struct Client {
    /// In the order in which they are tried.
    routes: Arc<[Arc<Route>]>,
    /// The one that was reached last.
    reached: Arc<AtomicUsize>,
    limits: Limits,
    headers: HeaderMap,
    connector: Arc<dyn Connect>,
    observer: Option<Arc<dyn RequestObserver>>,
    /// Time that an answer may be in coming until the observer hears of it.
    notice_after: Option<Duration>,
}

impl Client {
    /// Creates a client of the first of these daemons that can be reached; without any, of the one on this machine.
    pub fn new(routes: impl IntoIterator<Item = Route>, limits: Limits) -> Self {
        let mut routes: Vec<Arc<Route>> = routes.into_iter().map(Arc::new).collect();
        if routes.is_empty() {
            routes.push(Arc::default());
        }
        let headers = HeaderMap::from_iter([
            (USER_AGENT, HeaderValue::from_static(NAME)),
            (ACCEPT, HeaderValue::from_static("*/*")),
        ]);
        Self {
            routes: routes.into(),
            reached: Arc::default(),
            limits,
            headers,
            connector: Arc::new(SocketConnector),
            observer: None,
            notice_after: None,
        }
    }

    /// Returns the client with a header that goes with every request, such as another `User-Agent`.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Returns the client with another way to make connections.
    #[must_use]
    pub fn with_connector(self, connector: Arc<dyn Connect>) -> Self {
        Self { connector, ..self }
    }

    /// Returns the client with somebody who hears of its requests, and, if `notice_after` is given, of answers that are
    /// longer in coming than that.
    #[must_use]
    pub fn with_observer(
        self,
        observer: Arc<dyn RequestObserver>,
        notice_after: Option<Duration>,
    ) -> Self {
        Self { observer: Some(observer), notice_after, ..self }
    }

    /// Returns what it allows a daemon.
    pub fn request_limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns how long an answer may be in coming until the observer hears of it; `None`: it never does.
    pub fn notice_after(&self) -> Option<Duration> {
        self.notice_after
    }

    /// Reads one thing.
    ///
    /// # Errors
    ///
    /// As [`Self::fetch_json`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.fetch_json(&ApiRequest::get(path)).await
    }

    /// Sends one thing and reads the answer.
    ///
    /// # Errors
    ///
    /// As [`Self::fetch_json`].
    pub async fn post_json<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.fetch_json(&ApiRequest::post_json(path, body)?).await
    }

    /// Sends a request whose answer has no body.
    ///
    /// # Errors
    ///
    /// As [`Self::fetch_json`].
    pub async fn post_empty(&self, path: &str) -> Result<(), ClientError> {
        self.open(&ApiRequest::post_empty(path)).await.map(drop)
    }

    /// Sends a request and reads a successful answer as a whole, within [`Limits::request`] and [`Limits::body_bytes`].
    ///
    /// # Errors
    ///
    /// A [`ClientError`] that says how far it came: no connection, no answer in time, a refusal, an answer that is none.
    pub async fn fetch_json<T: DeserializeOwned>(
        &self,
        request: &ApiRequest,
    ) -> Result<T, ClientError> {
        let most = self.limits.body_bytes;
        self.within_limit(request, async {
            self.exchange_once(request).await?.into_success(most).await?.read_json(most).await
        })
        .await
    }

    /// Sends a request and returns the body of a successful answer, to be read as it comes. [`Limits::request`] holds until
    /// the answer has begun.
    ///
    /// # Errors
    ///
    /// As [`Self::fetch_json`].
    pub async fn open(&self, request: &ApiRequest) -> Result<BodyStream, ClientError> {
        let most = self.limits.body_bytes;
        let opened = async { self.exchange_once(request).await?.into_success(most).await };
        self.within_limit(request, opened).await.map(Answer::into_body)
    }

    /// Sends a request and returns the answer whatever its status is, with its body still to be read. [`Limits::request`]
    /// holds until the answer has begun.
    ///
    /// # Errors
    ///
    /// A [`ClientError`] for everything but a refusal.
    pub async fn send(&self, request: &ApiRequest) -> Result<Answer, ClientError> {
        self.within_limit(request, self.exchange_once(request)).await
    }

    /// The daemon that was reached last; before that the first.
    pub(crate) fn current_route(&self) -> Arc<Route> {
        let route = self.routes.get(self.reached.load(Ordering::Relaxed));
        route.cloned().unwrap_or_default()
    }

    /// One exchange up to the head of the answer.
    async fn exchange_once(&self, request: &ApiRequest) -> Result<Answer, ClientError> {
        let begun = Instant::now();
        let operation = &request.operation;
        let (stream, route) = self.connect_first_reachable().await?;
        let malformed = |source| ClientError::Request { operation: operation.clone(), source };
        let host = HeaderValue::try_from(route.endpoint.host_header())
            .map_err(|error| malformed(error.into()))?;
        let mut message = Request::builder()
            .method(operation.method.clone())
            .uri(&operation.path)
            .body(Full::new(request.body.clone()))
            .map_err(|error| malformed(error.into()))?;
        let headers = message.headers_mut();
        headers.insert(HOST, host);
        headers.extend(self.headers.clone());
        headers.extend(request.headers.clone());
        let broke = |source| {
            let (route, operation) = (route.clone(), operation.clone());
            ClientError::Exchange { route, operation, source }
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        // What ends the connection also ends the body that is read from it, which reports it.
        tokio::spawn(connection);
        let response = sender.send_request(message).await.map_err(broke)?;
        if let Some(observer) = &self.observer {
            observer.on_answer(operation, response.status(), begun.elapsed());
        }
        Ok(Answer::new(response, route, operation.clone()))
    }

    /// A connection to the daemon that was reached last, else to the first that can be reached. Nothing has been asked of
    /// one that cannot, so asking the next does nothing twice.
    async fn connect_first_reachable(
        &self,
    ) -> Result<(Box<dyn ByteStream>, Arc<Route>), ClientError> {
        let count = self.routes.len();
        let last = self.reached.load(Ordering::Relaxed);
        let mut failed = Vec::new();
        for index in (last..count).chain(0..last.min(count)) {
            let Some(route) = self.routes.get(index) else { continue };
            match self.connect_within_share(route, count).await {
                Ok(stream) => {
                    self.reached.store(index, Ordering::Relaxed);
                    return Ok((stream, route.clone()));
                }
                Err(error) => failed.push(ClientError::not_connected(route.clone(), error)),
            }
        }
        match (failed.pop(), failed.is_empty()) {
            (Some(only), true) => Err(only),
            (last, _) => {
                failed.extend(last);
                Err(ClientError::NoneReachable { attempts: failed })
            }
        }
    }

    /// A connection to one of `count` daemons. One of several that is silent must leave time for the others.
    async fn connect_within_share(
        &self,
        route: &Route,
        count: usize,
    ) -> io::Result<Box<dyn ByteStream>> {
        let several = count > 1;
        let share = self.limits.request / u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let share = several.then_some(share);
        let limit = share.into_iter().chain(self.limits.connect).min();
        let connected = async {
            if several && route.tunnel.is_some() {
                probe_tunnel(self.connector.connect(route).await?).await?;
            }
            self.connector.connect(route).await
        };
        match limit {
            None => connected.await,
            Some(limit) => tokio::time::timeout(limit, connected)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        }
    }

    async fn within_limit<T>(
        &self,
        request: &ApiRequest,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let limit = self.limits.request;
        let limited = async {
            tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                let (route, operation) = (self.current_route(), request.operation.clone());
                Err(ClientError::Timeout { route, operation, limit })
            })
        };
        tokio::select! {
            biased;
            done = limited => done,
            never = self.tell_what_is_waited_for(request) => match never {},
        }
    }

    /// Tells the observer that an answer is long in coming, ever more seldom.
    async fn tell_what_is_waited_for(&self, request: &ApiRequest) -> Infallible {
        let (Some(observer), Some(mut pause)) = (&self.observer, self.notice_after) else {
            return std::future::pending().await;
        };
        let begun = Instant::now();
        loop {
            tokio::time::sleep(pause).await;
            observer.on_waiting(&self.current_route(), &request.operation, begun.elapsed());
            pause = begun.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connects to nobody, and remembers to whom.
    #[derive(Debug, Default)]
    struct NoNetwork(std::sync::Mutex<Vec<String>>);

    impl Connect for NoNetwork {
        fn connect<'a>(&'a self, route: &'a Route) -> crate::connect::Connecting<'a> {
            self.0.lock().unwrap().push(route.to_string());
            Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
        }
    }

    #[tokio::test]
    async fn every_daemon_is_tried_and_each_says_why_it_was_not_reached() {
        let routes = ["http://a:1", "http://b:1"].map(|text| {
            let endpoint: crate::Endpoint = text.parse().unwrap();
            Route::from(endpoint)
        });
        let nobody = Arc::new(NoNetwork::default());
        let client = Client::new(routes, Limits::default()).with_connector(nobody.clone());
        let error = client.get::<()>("/v1/states").await.unwrap_err();
        assert_eq!(*nobody.0.lock().unwrap(), ["http://a:1", "http://b:1"]);
        assert_eq!(
            error.to_string(),
            "none of the daemons can be reached: no daemon listens at http://a:1: connection refused; \
             no daemon listens at http://b:1: connection refused"
        );
        assert!(error.is_connection_failure() && error.is_transient());
    }
}
