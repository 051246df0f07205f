//! `fd-forward`: standard input to a socket, and what comes from there to standard output.
//!
//! Owns the ends: when nothing more comes in, the socket is told, and what it still has to say is passed on; when the socket has
//! no more to say, or nobody reads it, it is over.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use muster_client::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::error::Error;

/// Passes everything on until the socket has no more to say.
pub(crate) async fn run(socket: &str) -> Result<ExitCode, Error> {
    // fleetctl takes a path; an endpoint says the same.
    let path = match socket.parse::<Endpoint>() {
        Ok(Endpoint::Unix(path)) => path,
        _ => PathBuf::from(socket),
    };
    let failed = |source| Error::Socket { path: path.clone(), source };
    let stream = UnixStream::connect(&path).await.map_err(failed)?;
    pass_bytes(stream, tokio::io::stdin(), tokio::io::stdout()).await.map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

async fn pass_bytes(
    mut socket: UnixStream,
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let (mut reader, mut writer) = socket.split();
    let there = async {
        // A socket that takes no more may still have something to say.
        let _ = tokio::io::copy(&mut input, &mut writer).await;
        let _ = writer.shutdown().await;
        std::future::pending::<()>().await;
    };
    let back = async {
        tokio::io::copy(&mut reader, &mut output).await?;
        output.flush().await
    };
    tokio::select! {
        biased;
        // What comes back ends it; the other way never does by itself.
        done = back => done,
        () = there => Ok(()),
    }
}
