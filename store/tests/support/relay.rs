//! A relay in front of a server, for what happens while a client is cut off and its server is not.

use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on until it is cut, and then holds new ones back until it is mended.
pub(crate) struct Relay {
    port: u16,
    /// Counts the cuts; odd while it is cut.
    cuts: Arc<watch::Sender<u64>>,
}

impl Relay {
    /// In front of `http://host:port`.
    pub(crate) async fn to(endpoint: &str) -> Self {
        let target = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cuts = Arc::new(watch::Sender::new(0));
        let signal = Arc::clone(&cuts);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target.clone(), signal.subscribe()));
            }
        });
        Self { port, cuts }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends all connections; new ones get no further than here.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts |= 1);
    }

    /// Passes on again.
    pub(crate) fn mend(&self) {
        self.cuts.send_modify(|cuts| *cuts += *cuts & 1);
    }
}

async fn pass(mut client: TcpStream, target: String, mut cuts: watch::Receiver<u64>) {
    let Ok(mended) = cuts.wait_for(|cuts| cuts % 2 == 0).await.map(|cuts| *cuts) else { return };
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = cuts.wait_for(|cuts| *cuts > mended) => {}
    }
}
