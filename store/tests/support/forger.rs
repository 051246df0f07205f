//! A man in the middle between a store and its etcd, who answers the grant of a lease with another lease.
//!
//! He knows just enough of the protocol for that: the grant he looks for has a time to live nobody else asks for, and
//! the id that follows it in the request is found again in the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::etcd::Server;

pub(crate) struct Forger {
    endpoint: String,
    forged: Arc<AtomicUsize>,
}

/// Tag and value of the time to live, and the tag of the id, in the request.
const GRANT: [u8; 4] = [0x08, 0xe1, 0x21, 0x10];

impl Forger {
    /// What to ask for to be cheated.
    pub(crate) const TTL: Duration = Duration::from_secs(4321);

    pub(crate) async fn before(server: &Server) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let forged = Arc::<AtomicUsize>::default();
        let address = server.endpoint().replace("http://", "");
        let count = Arc::clone(&forged);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&address).await.unwrap();
                tokio::spawn(stand_between(client, server, Arc::clone(&count)));
            }
        });
        Self { endpoint, forged }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// How many grants have been answered wrongly.
    pub(crate) fn forged(&self) -> usize {
        self.forged.load(Ordering::Relaxed)
    }
}

async fn stand_between(client: TcpStream, server: TcpStream, forged: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    // The id asked for last, as it is written.
    let (asked, id) = watch::channel(Vec::new());
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            if let Some(at) = find(&buffer[..length], &GRANT) {
                let id = &buffer[at + GRANT.len()..length];
                let last = id.iter().position(|byte| byte & 0x80 == 0).unwrap();
                asked.send_replace(id[..=last].to_vec());
            }
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        let id = id.borrow().clone();
        if !id.is_empty()
            && let Some(at) = find(&buffer[..length], &id)
        {
            buffer[at] ^= 1;
            forged.fetch_add(1, Ordering::Relaxed);
        }
        if to_client.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
