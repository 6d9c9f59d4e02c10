//! rsync over the connection that is already open.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fleet::ssh::{Progressed, Rsync, Session, SessionError, Target, Transfer, Transport};

use crate::proxy::Proxy;
use crate::sshd::Sshd;
use crate::{open_by, reach, run};

async fn ready(transport: Transport, sshd: &Sshd) -> Box<dyn Session> {
    assert!(Command::new("rsync").arg("--version").output().is_ok(), "rsync is missing: install rsync");
    open_by(transport, sshd).await
}

conformance!(
    first_again_changed_deleted,
    equal_files_of_the_release_before_are_linked,
    many_files_beside_commands_on_one_connection,
    failures_have_names,
    a_cut_leaves_a_part_that_the_next_push_goes_on_from,
    a_push_ends_with_its_time_limit,
);

struct Trees {
    _dir: tempfile::TempDir,
    source: PathBuf,
    host: PathBuf,
}

impl Trees {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("fleet push ").tempdir().unwrap();
        let (source, host) = (dir.path().join("the source"), dir.path().join("host"));
        std::fs::create_dir_all(source.join("a/b")).unwrap();
        std::fs::create_dir_all(&host).unwrap();
        std::fs::write(source.join("a/b/deep.txt"), "deep").unwrap();
        std::fs::write(source.join("run.sh"), "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(source.join("run.sh"), PermissionsExt::from_mode(0o750)).unwrap();
        std::fs::write(source.join("it's $(odd) é\nname"), "odd").unwrap();
        std::fs::write(source.join("skip.pyc"), "no").unwrap();
        std::fs::write(
            source.join("big.bin"),
            (0..3_000_000_u32).map(|i| (i ^ (i >> 9)) as u8).collect::<Vec<_>>(),
        )
        .unwrap();
        symlink("a/b/deep.txt", source.join("inside")).unwrap();
        symlink("/etc/passwd", source.join("outside")).unwrap();
        Trees { _dir: dir, source, host }
    }

    fn push(&self, name: &str) -> Rsync {
        Rsync {
            source: self.source.clone(),
            destination: self.host.join(name).display().to_string(),
            exclude: vec!["*.pyc".to_owned()],
            link_dest: None,
            sudo: false,
            // Thousands of files on a disk that others use: time is not what is tested here.
            timeout: Duration::from_secs(300),
        }
    }
}

fn same(a: &Path, b: &Path) -> bool {
    let excluded = ["-x", "*.pyc", "-x", "outside"];
    Command::new("diff")
        .args(["-r", "--no-dereference"])
        .args(excluded)
        .arg(a)
        .arg(b)
        .status()
        .unwrap()
        .success()
}

async fn push(session: &dyn Session, what: &Rsync) -> Transfer {
    session.rsync(what, None).await.unwrap()
}

async fn first_again_changed_deleted(transport: Transport) {
    let (sshd, trees) = (Sshd::start(), Trees::new());
    let session = ready(transport, &sshd).await;
    let what = trees.push("one");
    let mut seen: Vec<Progressed> = Vec::new();
    let first = session.rsync(&what, Some(&mut |done| seen.push(done))).await.unwrap();
    assert!(same(&trees.source, &trees.host.join("one")));
    assert_eq!((first.files_sent, first.links_skipped), (4, 1), "{first:?}");
    assert!(!trees.host.join("one/skip.pyc").exists() && !trees.host.join("one/outside").exists());
    let last = seen.last().unwrap();
    assert!(last.percent == 100 && last.bytes > 3_000_000, "{last:?}");
    let script = std::fs::metadata(trees.host.join("one/run.sh")).unwrap();
    assert_eq!(script.mode() & 0o7777, 0o750);

    let again = push(&*session, &what).await;
    assert_eq!((again.changed, again.files_sent, again.files_deleted), (0, 0, 0), "{again:?}");

    std::fs::write(trees.source.join("a/b/deep.txt"), "deeper").unwrap();
    std::fs::remove_file(trees.source.join("big.bin")).unwrap();
    let third = push(&*session, &what).await;
    assert_eq!((third.changed, third.files_sent, third.files_deleted), (2, 1, 1), "{third:?}");
    assert!(same(&trees.source, &trees.host.join("one")));

    std::fs::set_permissions(trees.source.join("run.sh"), PermissionsExt::from_mode(0o700)).unwrap();
    let modes = push(&*session, &what).await;
    assert_eq!((modes.changed, modes.files_sent), (1, 0), "{modes:?}");
    assert_eq!(sshd.connections(), 1, "{}", sshd.log());
}

async fn equal_files_of_the_release_before_are_linked(transport: Transport) {
    let (sshd, trees) = (Sshd::start(), Trees::new());
    let session = ready(transport, &sshd).await;
    push(&*session, &trees.push("one")).await;
    std::fs::write(trees.source.join("a/b/deep.txt"), "deeper").unwrap();
    let before = Some(trees.host.join("one").display().to_string());
    let second = push(&*session, &Rsync { link_dest: before, ..trees.push("two") }).await;
    assert_eq!(second.files_sent, 1, "{second:?}");
    assert!(second.bytes_sent < 10_000, "{second:?}");
    let inode = |path: &str| std::fs::metadata(trees.host.join(path)).unwrap().ino();
    assert_eq!(inode("one/big.bin"), inode("two/big.bin"));
    assert_ne!(inode("one/a/b/deep.txt"), inode("two/a/b/deep.txt"));
    assert_eq!(std::fs::read_to_string(trees.host.join("one/a/b/deep.txt")).unwrap(), "deep");
    assert!(same(&trees.source, &trees.host.join("two")));
    assert_eq!(sshd.connections(), 1);
}

async fn many_files_beside_commands_on_one_connection(transport: Transport) {
    let (sshd, trees) = (Sshd::start(), Trees::new());
    for i in 0..3000 {
        std::fs::write(trees.source.join(format!("f{i}")), format!("{i}\n").repeat(i % 300)).unwrap();
    }
    let session = ready(transport, &sshd).await;
    let (one, two) = (trees.push("one"), trees.push("two"));
    let (first, second, output) = tokio::join!(
        session.rsync(&one, None),
        session.rsync(&two, None),
        run(&*session, "sleep 0.2; echo ok")
    );
    assert_eq!((first.unwrap().files_sent, second.unwrap().files_sent), (3004, 3004));
    assert_eq!(output.stdout, b"ok\n");
    assert!(same(&trees.source, &trees.host.join("one")) && same(&trees.source, &trees.host.join("two")));
    assert_eq!(sshd.connections(), 1);
}

async fn failures_have_names(transport: Transport) {
    let trees = Trees::new();
    let tools = tempfile::tempdir().unwrap();
    let sshd = Sshd::with(&format!("SetEnv PATH={}", tools.path().display()));
    let session = ready(transport, &sshd).await;
    let said = async |what: Rsync| session.rsync(&what, None).await.unwrap_err().to_string();

    let text = said(trees.push("one")).await;
    assert_eq!(text, "rsync is not installed on the host: install it there (apt-get install rsync)");
    let text = said(Rsync { sudo: true, ..trees.push("one") }).await;
    assert!(text.starts_with("rsync may not run as root on the host: ") && text.contains("sudo"), "{text}");
    let text = said(Rsync { source: "/nonexistent".into(), ..trees.push("one") }).await;
    assert_eq!(text, "/nonexistent is not a folder");

    symlink("/usr/bin/rsync", tools.path().join("rsync")).unwrap();
    let missing = trees.host.join("not/yet/there").display().to_string();
    let text = said(Rsync { destination: missing, ..trees.push("one") }).await;
    assert!(text.contains("code 3") || text.contains("code 11"), "{text}");
    assert!(text.contains("mkdir") && text.contains("No such file or directory"), "{text}");
    // A host on which root's shell starts with noise.
    std::fs::remove_file(tools.path().join("rsync")).unwrap();
    let noisy = tools.path().join("rsync");
    std::fs::write(&noisy, "#!/bin/sh\necho 'Welcome to the host!'\nexec /usr/bin/rsync \"$@\"\n").unwrap();
    std::fs::set_permissions(&noisy, PermissionsExt::from_mode(0o755)).unwrap();
    let text = said(trees.push("one")).await;
    assert!(text.contains("rsync ended with code 2"), "{text}");
    // The session is as good as before.
    std::fs::remove_file(&noisy).unwrap();
    symlink("/usr/bin/rsync", &noisy).unwrap();
    push(&*session, &trees.push("one")).await;
    assert_eq!(sshd.connections(), 1);
}

async fn a_cut_leaves_a_part_that_the_next_push_goes_on_from(transport: Transport) {
    let (sshd, trees) = (Sshd::start(), Trees::new());
    // A wire that takes half of it: however late the cut comes, it comes before the end.
    let proxy = Proxy::narrow(&sshd.host, sshd.port, 35_000_000).await;
    let target = Target { port: proxy.port, ..sshd.target() };
    let session = reach(transport, &sshd, &target).await;
    // Nothing to compress: an xorshift generator.
    let mut state = 88_172_645_463_325_252_u64;
    let noise: Vec<u8> = (0..60_000_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    std::fs::write(trees.source.join("huge.bin"), &noise).unwrap();
    let what = trees.push("one");
    let (result, ()) = tokio::join!(session.rsync(&what, None), async {
        proxy.full().await;
        sshd.cut();
    });
    let error = result.unwrap_err();
    assert!(matches!(error, SessionError::Lost(_)), "{error:?}");
    assert!(!trees.host.join("one/huge.bin").exists());
    assert_eq!(proxy.connections.load(std::sync::atomic::Ordering::SeqCst), 1);

    let session = ready(transport, &sshd).await;
    let rest = push(&*session, &what).await;
    assert!(rest.bytes_sent < 50_000_000, "{rest:?}");
    assert!(same(&trees.source, &trees.host.join("one")));
    assert!(!trees.host.join("one/.rsync-partial").exists());
}

async fn a_push_ends_with_its_time_limit(transport: Transport) {
    let trees = Trees::new();
    let tools = tempfile::tempdir().unwrap();
    let sshd = Sshd::with(&format!("SetEnv PATH={}:/usr/bin:/bin", tools.path().display()));
    std::fs::write(tools.path().join("rsync"), "#!/bin/sh\nexec sleep 60\n").unwrap();
    std::fs::set_permissions(tools.path().join("rsync"), PermissionsExt::from_mode(0o755)).unwrap();
    let session = ready(transport, &sshd).await;
    let start = Instant::now();
    let what = Rsync { timeout: Duration::from_secs(2), ..trees.push("one") };
    let error = session.rsync(&what, None).await.unwrap_err();
    assert!(matches!(error, SessionError::TimedOut(_)), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(6));
    assert_eq!(run(&*session, "echo on").await.stdout, b"on\n");
}
