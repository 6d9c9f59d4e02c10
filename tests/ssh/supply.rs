//! Input of any length, given while the command reads it, over each transport.

use std::time::Duration;

use fleet::ssh::{Exit, Piece, SessionError, Transport};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::channel;

use super::sshd::Sshd;
use super::{open_by, sh};

const PIECE: usize = 100_000;
const PIECES: usize = 300;

conformance!(
    thirty_megabytes_arrive_whole,
    a_slow_reader_is_waited_for,
    what_stops_without_its_end_is_given_up,
    a_command_that_reads_no_more_tells_how_it_ended,
);

fn piece(number: usize) -> Vec<u8> {
    (0..PIECE).map(|at| ((at * 31 + number * 17) % 251) as u8).collect()
}

async fn thirty_megabytes_arrive_whole(transport: Transport) {
    let sshd = Sshd::start();
    let session = open_by(transport, &sshd).await;
    let (sender, mut pieces) = channel(4);
    let giving = tokio::spawn(async move {
        let mut hash = Sha256::new();
        for number in 0..PIECES {
            hash.update(piece(number));
            sender.send(Piece::Data(piece(number))).await.unwrap();
        }
        sender.send(Piece::End).await.unwrap();
        hash.finalize()
    });
    let output = session.push(&sh("sha256sum; echo done >&2"), &mut pieces, None).await.unwrap();
    let hash = fleet::shell::hex(&giving.await.unwrap());
    assert_eq!(output.exit, Exit::Code(0));
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{hash}  -\n"));
    assert_eq!(output.stderr, b"done\n");
}

/// Nothing but a few pieces waits here: memory stays small however much there is.
async fn a_slow_reader_is_waited_for(transport: Transport) {
    let sshd = Sshd::start();
    let session = open_by(transport, &sshd).await;
    let (sender, mut pieces) = channel(2);
    let giving = tokio::spawn(async move {
        let mut given = 0;
        while given < 1000
            && sender.send_timeout(Piece::Data(piece(given)), Duration::from_secs(1)).await.is_ok()
        {
            given += 1;
        }
        given
    });
    let cmd = sh("sleep 5; exit 7");
    let output = session.push(&cmd, &mut pieces, None).await.unwrap();
    assert_eq!(output.exit, Exit::Code(7));
    assert!(giving.await.unwrap() < 200, "100 MB were not taken while nobody read them");
}

async fn what_stops_without_its_end_is_given_up(transport: Transport) {
    let sshd = Sshd::start();
    let session = open_by(transport, &sshd).await;
    let (sender, mut pieces) = channel(2);
    tokio::spawn(async move {
        sender.send(Piece::Data(b"half".to_vec())).await.unwrap();
    });
    let path = sshd.path("whole");
    let script = format!("head -c 9 >/dev/null; read -r more && touch {}", path.display());
    let error = session.push(&sh(&script), &mut pieces, None).await.unwrap_err();
    assert!(matches!(&error, SessionError::Failed(why) if why.contains("ended before its end")), "{error:?}");
    assert!(!path.exists());
    // The connection is as good as before.
    assert_eq!(super::run(&*session, "echo on").await.stdout, b"on\n");
}

async fn a_command_that_reads_no_more_tells_how_it_ended(transport: Transport) {
    let sshd = Sshd::start();
    let session = open_by(transport, &sshd).await;
    let (sender, mut pieces) = channel(2);
    tokio::spawn(async move { while sender.send(Piece::Data(piece(1))).await.is_ok() {} });
    let output = session.push(&sh("head -c 10 >/dev/null; echo no >&2; exit 3"), &mut pieces, None).await;
    let output = output.unwrap();
    assert_eq!((output.exit, output.stderr.as_slice()), (Exit::Code(3), b"no\n".as_slice()));
}
