//! Wrong command lines.

use super::{Case, refused, usage};

pub const FLAGS: &[Case] = &[
    usage("frobnicate"),
    usage("provison ville-lyon"),
    usage("list --tga prod"),
    usage("list --color sometimes"),
    usage("list --tag"),
    refused("-C nowhere list"),
    refused("--config nowhere.toml list"),
    usage("show"),
    refused("show breast"),
    refused("show 'quimper-*'"),
    refused("show 'ville-['"),
    refused("list --tag canry"),
    refused("list --exclude nobody"),
    refused("list --tag canary brest"),
    refused("list --all brest"),
    usage("remove"),
    usage("remove brest"),
    refused("remove nobody --yes"),
    usage("render"),
    refused("render '*'"),
    refused("render brest docker-compose.yaml"),
    refused("render brest nginx.conf"),
    refused("render brest --stack tinny"),
    usage("provision"),
    usage("provision --all"),
    usage("provision --name x"),
    usage("provision brest --name x --domain x.example.fr --ip 192.0.2.9"),
    usage("provision --domain x.example.fr --yes"),
    usage("provision --name x --domain x.example.fr --ip 192.0.2.9"),
    refused("provision --name brest --domain x.example.fr --ip 192.0.2.2 --yes"),
    usage("update"),
    usage("update --all --check --dry-run"),
    refused("update brest --services wbe --yes"),
    usage("update --all --yes --parallel 0"),
    usage("update --all --yes --timeout 5d"),
    usage("status --timeout never"),
    usage("logs"),
    usage("logs brest --tail many"),
    usage("logs brest --grep ("),
    usage("logs brest --follow --until 1h"),
    usage("logs brest --since yesterday"),
    refused("logs brest --service wbe"),
    usage("ssh"),
    refused("ssh nobody"),
    refused("ssh '*'"),
    usage("test-ssh"),
    usage("ssh-key rotate-it"),
    usage("completions tcsh"),
];

pub const NEW_CLIENTS: &[Case] = &[
    usage("add"),
    usage("add x"),
    usage("add x --domain x.example.fr"),
    usage("add x --domain ville --ip 192.0.2.9"),
    usage("add x --domain https://x.example.fr/ --ip 192.0.2.9"),
    usage("add x --domain été.example.fr --ip 192.0.2.9"),
    usage("add Ville_Lyon --domain x.example.fr --ip 192.0.2.9"),
    usage("add x --domain x.example.fr --ip 192.0.2.300"),
    usage("add x --domain x.example.fr --ip vps.example.net"),
    usage("add x --domain x.example.fr --host 192.0.2.9"),
    usage("add x --domain x.example.fr --ip 192.0.2.9 --host vps.example.net"),
    usage("add x --domain x.example.fr --ip 192.0.2.9 --port 0"),
    usage("add x --domain x.example.fr --ip 192.0.2.9 --port ssh"),
    usage("add x --domain x.example.fr --ip 192.0.2.9 --email nobody"),
    usage("add x --domain x.example.fr --ip 192.0.2.9 --user 'root; reboot'"),
    usage("add x --domain x.example.fr --ip 192.0.2.9 --jump 'a b'"),
    usage("add x --domain x.example.fr --ip 192.0.2.9 --tags prod,Canary"),
    usage("add x --name y --domain x.example.fr --ip 192.0.2.9"),
    refused("add brest --domain x.example.fr --ip 192.0.2.9"),
    refused("add x --domain brest.example.fr --ip 192.0.2.9"),
    refused("add x --domain x.example.fr --ip 192.0.2.1"),
    refused("add x --domain brest.example.fr --ip 192.0.2.1"),
    refused("add x --domain x.example.fr --ip 192.0.2.9")
        .after(|fleet| fleet.edit("[clients.brest]", "[clients.brest]\ncolour = 1")),
];

pub const SECRETS: &[Case] = &[
    usage("secrets"),
    usage("secrets set brest"),
    refused("secrets set nobody SMTP_PASSWORD").input(b"aB3-xY9-kL2"),
    refused("secrets set brest SMTP_PASWORD").input(b"aB3-xY9-kL2"),
    refused("secrets set brest COLOUR").input(b"aB3-xY9-kL2"),
    refused("secrets set brest PUBLIC_NAME").input(b"aB3-xY9-kL2"),
    usage("secrets set brest SMTP_PASSWORD=aB3-xY9-kL2"),
    usage("secrets set brest SMTP_PASSWORD aB3-xY9-kL2"),
    refused("secrets set brest SMTP_PASSWORD"),
    refused("secrets set brest SMTP_PASSWORD").input(b"short\n"),
    refused("secrets set brest SMTP_PASSWORD").input(b"two-lines-of\ntext-here\n"),
    refused("secrets set brest SMTP_PASSWORD").input(b"\xff\xfe\xfd"),
    refused("secrets set brest SMTP_PASSWORD --from-file nowhere.txt"),
    refused("secrets show brest"),
    refused("secrets show nobody"),
    refused("secrets show brest SMTP_PASSWORT").after(|fleet| {
        fleet.with_input(["secrets", "set", "brest", "SMTP_PASSWORD"], b"aB3-xY9-kL2").ok();
    }),
    usage("secrets rotate brest"),
    refused("secrets rotate brest DB_PASSWORD --yes"),
    refused("secrets rotate brest SMTP_PASSWORD --yes").after(|fleet| {
        fleet.with_input(["secrets", "set", "brest", "SMTP_PASSWORD"], b"aB3-xY9-kL2").ok();
    }),
    refused("secrets rotate brest --all-names --yes").after(|fleet| {
        fleet.with_input(["secrets", "set", "brest", "SMTP_PASSWORD"], b"aB3-xY9-kL2").ok();
    }),
    usage("secrets unset brest SMTP_PASSWORD"),
    refused("secrets unset brest SMTP_PASSWORD --yes"),
    usage("secrets recipients add rubbish"),
    usage("secrets recipients add ssh-rsa AAAAB3NzaC1yc2E bob"),
    usage("secrets recipients add AGE-SECRET-KEY-1QQPQQ6Z3ALLXSUTQSQ9NYMMQXJWA2FZR6R5RZGTFV4LL"),
    refused("secrets recipients remove 'Bob, desk'").after(|fleet| {
        let own = fleet.read("secrets/recipients.txt");
        let text = own.lines().filter(|line| line.starts_with("age1")).map(|line| format!("# me\n{line}\n"));
        fleet.write("secrets/recipients.txt", text.collect::<String>());
    }),
    refused("secrets recipients remove me").after(|fleet| {
        let own = fleet.read("secrets/recipients.txt");
        let text = own.lines().filter(|line| line.starts_with("age1")).map(|line| format!("# me\n{line}\n"));
        fleet.write("secrets/recipients.txt", text.collect::<String>());
    }),
    refused("secrets recover brest --from-file nowhere.env"),
    refused("secrets recover brest").input(b"DB_PASSWORD='abc\n"),
    refused("secrets recover brest").input(b"DB_PASSWORD=abc\n"),
    refused("secrets recover brest").after(|fleet| {
        fleet.with_input(["secrets", "set", "brest", "SMTP_PASSWORD"], b"aB3-xY9-kL2").ok();
    }),
];
