use super::*;

fn target(jump: Option<&str>) -> Target {
    Target {
        name: "one".to_owned(),
        host: "192.0.2.7".to_owned(),
        port: 2222,
        user: "ubuntu".to_owned(),
        key: "/nonexistent/key".into(),
        known_hosts: "/fleet/known_hosts".into(),
        jump: jump.map(str::to_owned),
        agent: None,
        connect_timeout: Duration::from_secs(10),
        transport: crate::ssh::Transport::OpenSsh,
    }
}

/// What and remedy of each, as ssh 9.2 and 10.0 say it (LogLevel=DEBUG1, lines of no use left out).
fn sense(jump: Option<&str>, text: &str) -> String {
    let mut said = Said::default();
    text.lines().for_each(|line| said.take(line));
    fault(&said, &target(jump), false).what()
}

#[test]
fn each_end_of_ssh_has_its_name() {
    let proxy = "debug1: Executing proxy command: exec ssh -W '[192.0.2.7]:2222' gate\n";
    let all = [
        sense(None, "ssh: Could not resolve hostname nowhere.invalid: Name or service not known\r"),
        sense(None, "ssh: connect to host 192.0.2.7 port 2222: Connection refused\r"),
        sense(None, "ssh: connect to host 192.0.2.7 port 2222: Connection timed out\r"),
        sense(None, "ssh: connect to host 192.0.2.7 port 2222: No route to host\r"),
        sense(
            None,
            "Connection timed out during banner exchange\nConnection to 192.0.2.7 port 2222 timed out",
        ),
        sense(
            None,
            "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by 192.0.2.7 port 2222",
        ),
        sense(
            None,
            "debug1: kex_exchange_identification: banner line 0: HTTP/1.1 400\nkex_exchange_identification: \
             banner line contains invalid characters\n",
        ),
        sense(
            None,
            "debug1: Server host key: ssh-ed25519 SHA256:abc\nNo ED25519 host key is known for \
             [192.0.2.7]:2222 and you have requested strict checking.\r\nHost key verification failed.",
        ),
        sense(
            None,
            "debug1: Server host key: ssh-ed25519 SHA256:new\n@    WARNING: REMOTE HOST IDENTIFICATION HAS \
             CHANGED!     @\r\nOffending ED25519 key in /fleet/known_hosts:3\r\nHost key verification failed.",
        ),
        sense(
            None,
            "debug1: Remote protocol version 2.0\nubuntu@192.0.2.7: Permission denied (publickey,password).",
        ),
        sense(None, "Received disconnect from 192.0.2.7 port 2222:2: Too many authentication failures\n"),
        sense(
            None,
            "Unable to negotiate with 192.0.2.7 port 2222: no matching host key type found. Their offer: ssh-rsa",
        ),
        sense(
            None,
            "/home/me/.ssh/config: line 3: Bad configuration option: foo\r\n/home/me/.ssh/config: terminating, 1 bad configuration options",
        ),
        sense(
            Some("me@gate"),
            &format!(
                "{proxy}me@gate: Permission denied (publickey).\nConnection closed by UNKNOWN port 65535"
            ),
        ),
        sense(
            None,
            &format!(
                "{proxy}ssh: connect to host gate port 22: Connection refused\nkex_exchange_identification: \
                 Connection closed by remote host\nConnection closed by UNKNOWN port 65535"
            ),
        ),
        sense(
            Some("me@gate"),
            &format!(
                "{proxy}channel 0: open failed: connect failed: Connection refused\r\nstdio forwarding \
                 failed\r\nConnection closed by UNKNOWN port 65535"
            ),
        ),
        sense(None, ""),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn the_key_on_top_is_the_hosts_own() {
    let mut said = Said::default();
    said.take("debug1: Server host key: ssh-ed25519 SHA256:gate\r");
    said.take("debug1: Server host key: ssh-ed25519 SHA256:host\r");
    said.take("debug1: Entering interactive session.\r");
    assert_eq!((said.host_key.as_str(), said.ready), ("SHA256:host", true));
}
