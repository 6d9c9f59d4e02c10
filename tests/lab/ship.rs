//! Images built once on this machine: who builds, what travels, what a cut costs.

use std::time::Duration;

use super::cuts::after_the_kill;
use super::kit::{Host, figure, get, lab, street};

/// Bytes that have come to a host since it started.
fn received(host: &Host) -> u64 {
    host.sh("cat /sys/class/net/eth0/statistics/rx_bytes").ok().trim().parse().expect("a number")
}

/// What a run said of its builds.
fn built(ran: &super::kit::Ran) -> Vec<serde_json::Value> {
    ran.records().into_iter().filter(|event| event["type"] == "image-built").collect()
}

#[test]
fn five_clients_share_one_build_and_are_sent_one_changed_layer_each() {
    let street = street();
    let builds = built(&street.first);
    if std::env::var_os("FLEET_TEST_REUSE").is_none() {
        assert_eq!(builds.len(), 1, "five clients, one build: {builds:#?}");
    }
    street.settle();
    let (one, two) = (&street.shops[0], &street.shops[1]);

    street.release("shipped");
    let ids: Vec<String> = [one, two]
        .into_iter()
        .map(|host| {
            let before = received(host);
            let ran = street.fleet.run(&["update", &host.name, "--yes", "--json"]).expect(0);
            let bytes = received(host) - before;
            ran.outcome(&host.name, "changed");
            let builds = built(&ran);
            // The first of them builds, the second finds it built.
            assert_eq!(builds.len(), usize::from(host.name == one.name), "{builds:#?}");
            let whole: u64 = host
                .sh("docker image inspect --format '{{.Size}}' $(docker image ls -q shop/api | head -n 1)")
                .ok()
                .trim()
                .parse()
                .expect("a size");
            // The whole update: logins, source, files, one layer.
            assert!(
                bytes < 1_000_000 && whole > 50_000_000,
                "{bytes} bytes came of {whole} to {}",
                host.name
            );
            let said = ran.stdout.lines().find(|line| line.contains(" layers, ")).expect("what was sent");
            assert!(said.contains("1 of "), "only the changed layer: {said}");
            figure(&format!(
                "ship: one changed layer to {}: {bytes} bytes received of an image of {whole}",
                host.name
            ));
            assert!(get(host, "/").body.contains("\"shipped\""), "{:?}", get(host, "/"));
            host.sh("docker image inspect --format '{{.Id}}' $(docker image ls -q shop/api | head -n 1)").ok()
        })
        .collect();
    assert_eq!(ids[0], ids[1], "the same image on both");

    // Nothing of any client is in what is shared: neither in its layers nor in its configuration.
    let token = street.fleet.secret(&one.name, "TOKEN");
    let count = |word: &str| {
        one.sh(&format!(
            "docker save $(docker image ls -q shop/api | head -n 1) | grep -a -c -F -- {word:?}; true"
        ))
        .ok()
    };
    assert_eq!(count(&token).trim(), "0");
    assert_eq!(count(&one.name).trim(), "0");
    assert_ne!(count("PYTHONUNBUFFERED").trim(), "0", "what is in the image is found");
    assert_eq!(one.sh("ls -A /opt/shop/images 2>/dev/null; true").ok(), "", "nothing is left lying about");
    street.settle();
}

#[test]
fn what_arrived_before_a_cut_is_not_sent_twice() {
    const SIZE: usize = 24_000_000;
    let street = street();
    street.settle();
    let (fleet, host) = (&street.fleet, &street.shops[2]);
    let words = ["update", host.name.as_str(), "--yes", "--json"];
    // Noise, which no compression makes smaller.
    let mut word: u64 = 0x9e37_79b9_7f4a_7c15;
    let noise: Vec<u8> = (0..SIZE / 8)
        .flat_map(|_| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word.to_le_bytes()
        })
        .collect();
    std::fs::write(fleet.path("app/api/noise.bin"), noise).expect("a large file");
    fleet.edit("app/api/Dockerfile", "EXPOSE 8000", "COPY noise.bin ./\nEXPOSE 8000");
    lab().script(&["fault", &host.name, "slow", "24mbit"]);
    let (mut child, _lines) = fleet.until_step(&words, "ship images");
    let begun = received(host);
    let came = || usize::try_from(received(host) - begun).expect("it fits");
    // A third has come; the kill is not at an edge.
    super::kit::eventually("a part arrives", Duration::from_secs(60), || {
        if came() > SIZE / 3 { Ok(()) } else { Err(came().to_string()) }
    });
    child.kill().expect("SIGKILL");
    child.wait().expect("it is gone");
    lab().script(&["heal", &host.name]);
    assert_eq!(get(host, "/health").status, 200, "the release before serves");
    after_the_kill(fleet, host, &words);
    let before = received(host);
    fleet.run(&words).expect(0).outcome(&host.name, "changed");
    let again = usize::try_from(received(host) - before).expect("it fits");
    // The source holds the file too, and came before the images.
    assert!(again < SIZE * 5 / 6, "{again} of {SIZE} bytes came after the cut");
    fleet.edit("app/api/Dockerfile", "COPY noise.bin ./\n", "");
    std::fs::remove_file(fleet.path("app/api/noise.bin")).expect("it was there");
    street.settle();
}

#[test]
fn an_image_that_cannot_be_built_touches_nobody() {
    let street = street();
    street.settle();
    street.fleet.edit(
        "app/api/Dockerfile",
        "EXPOSE 8000",
        "RUN echo planted: no such luck; exit 3\nEXPOSE 8000",
    );
    let ran = street.fleet.run(&["update", "--all", "--yes", "--json"]);
    street.fleet.edit("app/api/Dockerfile", "RUN echo planted: no such luck; exit 3\n", "");
    let ran = ran.expect(3);
    for host in &street.shops {
        let ended = ran.outcome(&host.name, "failed");
        assert_eq!(ended["fault"]["step"], "plan", "{ended:#}");
        assert!(ended["fault"]["lines"].to_string().contains("planted: no such luck"), "{ended:#}");
    }
    assert!(ran.steps().is_empty(), "no host was touched: {:?}", ran.steps());
}
