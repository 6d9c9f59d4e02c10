//! Wrong files: registries, stacks, keys, sealed secrets.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::super::support::Fleet;
use super::{Case, refused};

pub const REGISTRIES: &[Case] = &[
    refused("list").after(|fleet| fs::remove_file(fleet.path("clients.toml")).unwrap()),
    refused("list").after(|fleet| fleet.write("clients.toml", "")),
    refused("list").after(|fleet| fleet.write("clients.toml", b"[fleet]\nname = \"\xff\"\n")),
    refused("list").after(|fleet| fleet.edit("[clients.brest]", "[clients.brest")),
    refused("list").after(|fleet| fleet.edit("tags = [\"prod\"]", "tga = [\"prod\"]")),
    refused("list").after(|fleet| fleet.edit("brest.example.fr", "brest")),
    refused("list").after(|fleet| fleet.edit("192.0.2.2", "192.0.2.1")),
    refused("list").after(|fleet| fleet.edit("https://poisonkey7Q2x@", "https://poisonkey7Q2x:poison7Q2x@")),
    refused("list").after(|fleet| {
        fleet.edit("brest.example.fr", "http://brest");
        fleet.edit("192.0.2.2", "brest");
        fleet.edit("stack = \"tiny\"", "stack = 7");
    }),
    refused("list").after(|fleet| fleet.edit("user = \"ubuntu\"", "user = 7")),
    refused("remove brest --yes").after(|fleet| fleet.edit("user = \"ubuntu\"", "user = \"-x\"")),
    refused("init").after(|fleet| fleet.edit("user = \"ubuntu\"", "user = \"-x\"")),
];

pub const STACKS: &[Case] = &[
    refused("render brest").after(|fleet| fleet.edit("stack = \"tiny\"", "stack = \"tyni\"")),
    refused("render brest").after(|fleet| fleet.edit("stack = \"tiny\"", "stack = \"./stacks/none\"")),
    refused("render brest").after(|fleet| fs::remove_file(fleet.path("stacks/tiny/stack.toml")).unwrap()),
    refused("render brest").after(|fleet| fleet.write("stacks/tiny/stack.toml", "name = tiny\n")),
    refused("render brest").after(|fleet| stack(fleet, "generate = \"alnum:32\"", "generate = \"alnum:3\"")),
    refused("render brest").after(|fleet| stack(fleet, "[services.worker]", "[services.worker]\nrolout = 1")),
    refused("render brest")
        .after(|fleet| stack(fleet, "pattern = \"[A-Za-z0-9-]{8,64}\"", "pattern = \"[A-Z\"")),
    refused("render brest").after(|fleet| stack(fleet, "env.tera", "dotenv.tera")),
    refused("render brest").after(|fleet| compose(fleet, "env.PUBLIC_NAME", "env.PUBLIK_NAME")),
    refused("render brest")
        .after(|fleet| compose(fleet, "{{ env.PUBLIC_NAME | compose }}", "{{ env.PUBLIC_NAME")),
    refused("render brest").after(|fleet| compose(fleet, "{{ env.PUBLIC_NAME", "{{ env.SMTP_PASSWORD")),
    refused("render brest").after(|fleet| compose(fleet, "| compose", "| componse")),
    refused("render brest")
        .after(|fleet| stack(fleet, "default = \"Tiny\"", "required = true\nhelp = \"its name\"")),
    refused("render brest")
        .after(|fleet| fleet.edit("\"192.0.2.2\"", "\"192.0.2.2\"\nenv = { PUBLIK_NAME = \"x\" }")),
    refused("render brest").after(|fleet| {
        fleet.edit("\"192.0.2.2\"", "\"192.0.2.2\"\nenv = { SMTP_PASSWORD = \"poison7Q2x\" }")
    }),
    refused("render brest").after(|fleet| {
        stack(fleet, "default = \"Tiny\"", "pattern = \"[A-Z][a-z]+\"\nexample = \"Brest\"");
        fleet.edit("\"192.0.2.2\"", "\"192.0.2.2\"\nenv = { PUBLIC_NAME = \"no capital\" }");
    }),
    refused("render brest").after(|fleet| stack(fleet, "name = \"tiny\"", "name = \"tiny\"\n[source]")),
    refused("secrets set brest SMTP_PASSWORD")
        .input(b"aB3-xY9-kL2")
        .after(|fleet| stack(fleet, "name = \"tiny\"", "")),
];

pub const KEYS: &[Case] = &[
    refused("ssh-key").after(|fleet| fs::remove_file(fleet.path("keys/fleet_ed25519")).unwrap()),
    refused("ssh-key").after(|fleet| fleet.write("keys/fleet_ed25519", "rubbish")),
    refused("ssh-key generate"),
    refused("secrets show brest").after(|fleet| {
        sealed(fleet);
        fs::remove_file(fleet.path(".fleet/identity.txt")).unwrap();
    }),
    refused("secrets show brest").after(|fleet| {
        sealed(fleet);
        fs::set_permissions(fleet.path(".fleet/identity.txt"), Permissions::from_mode(0o644)).unwrap();
    }),
    refused("secrets show brest").after(|fleet| {
        sealed(fleet);
        fleet.write(".fleet/identity.txt", "rubbish\n");
    }),
    refused("secrets show brest --identity nowhere.txt").after(sealed),
    // Someone else's identity.
    refused("secrets show brest").after(|fleet| {
        sealed(fleet);
        fs::remove_file(fleet.path(".fleet/identity.txt")).unwrap();
        fs::copy(fleet.path("secrets/recipients.txt"), fleet.path("saved.txt")).unwrap();
        fleet.run(["init"]).ok();
        fs::rename(fleet.path("saved.txt"), fleet.path("secrets/recipients.txt")).unwrap();
    }),
    refused("secrets show brest").after(|fleet| {
        sealed(fleet);
        fleet.write("secrets/brest.age", "rubbish");
    }),
    refused("secrets show ville-lyon").after(|fleet| {
        sealed(fleet);
        fs::copy(fleet.path("secrets/brest.age"), fleet.path("secrets/ville-lyon.age")).unwrap();
    }),
    // The index says that there were secrets.
    refused("render brest").after(|fleet| {
        sealed(fleet);
        fs::remove_file(fleet.path("secrets/brest.age")).unwrap();
    }),
    refused("secrets list brest").after(|fleet| {
        sealed(fleet);
        fs::remove_file(fleet.path("secrets/brest.age")).unwrap();
    }),
    refused("secrets set brest SMTP_PASSWORD")
        .input(b"aB3-xY9-kL2")
        .after(|fleet| fleet.write("secrets/recipients.txt", "# nobody\n")),
    refused("secrets set brest SMTP_PASSWORD")
        .input(b"aB3-xY9-kL2")
        .after(|fleet| fleet.write("secrets/recipients.txt", "rubbish\nssh-rsa AAAA bob\n")),
    refused("secrets set brest SMTP_PASSWORD").input(b"aB3-xY9-kL2").after(|fleet| {
        let other = Fleet::empty();
        other.run(["init"]).ok();
        fleet.write("secrets/recipients.txt", other.read("secrets/recipients.txt"));
    }),
];

fn stack(fleet: &Fleet, from: &str, to: &str) {
    change(fleet, "stacks/tiny/stack.toml", from, to);
}

fn compose(fleet: &Fleet, from: &str, to: &str) {
    change(fleet, "stacks/tiny/docker-compose.yml.tera", from, to);
}

fn change(fleet: &Fleet, file: &str, from: &str, to: &str) {
    let text = fleet.read(file);
    assert!(text.contains(from), "{from} in {file}");
    fleet.write(file, text.replacen(from, to, 1));
}

fn sealed(fleet: &Fleet) {
    fleet.with_input(["secrets", "set", "brest", "SMTP_PASSWORD"], b"aB3-xY9-kL2").ok();
}
