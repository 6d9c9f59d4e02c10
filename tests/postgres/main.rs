//! What `fleet` says to PostgreSQL, said to a real one.
//!
//! The scripts run as they are, under a real shell, with a `docker` on their path that runs
//! `docker exec` commands here instead of in a container. It needs the server's programs (package
//! `postgresql` on Debian and Ubuntu); `scripts/test.sh` installs them.

mod backup;
mod bucket;
mod cron;
mod hooks;
#[path = "../support/http.rs"]
#[expect(dead_code, reason = "the stubs of Sentry ask for more")]
mod http;
mod keys;
mod kills;
mod prove;
#[path = "../cli/notify/receivers.rs"]
#[expect(dead_code, reason = "the tests of notifications use all of it")]
mod receivers;
mod remote;
mod restore;
mod rig;
mod server;
#[path = "../support/sshd.rs"]
#[expect(dead_code, reason = "the tests of ssh itself use all of it")]
mod sshd;
#[path = "../cli/support.rs"]
#[expect(dead_code, reason = "the tests of the command line use all of it")]
mod support;
mod town;

use fleet::ops::Layout;
use fleet::ops::migration::{Migration, Server as Where};
use fleet::ops::outside::Outside;
use fleet::ops::postgres::Database;
use fleet::ops::probe::{Question, probe};
use fleet::secret::Secret;

use server::{Server, migration};

fn database(server: &Server) -> Database {
    Database {
        stack: "demo".into(),
        service: "database".into(),
        user: server.user.clone(),
        name: server.name.clone(),
    }
}

fn inside(server: &Server) -> Where {
    Where::Inside(database(server))
}

/// The same database by its address, with the programs that are here.
fn outside(server: &Server) -> Where {
    let parts = [("PGDATABASE", &server.name), ("PGUSER", &server.user)];
    let environment = parts.map(|(name, value)| (name.to_owned(), Secret::from(value.clone())));
    Where::Outside(Outside { environment: environment.into(), image: None })
}

#[test]
fn migrations_are_applied_once_and_recorded_with_their_hash() {
    let server = Server::start("demo", "demo");
    let database = inside(&server);
    let first = migration("001_tables.sql", "create table t (id int primary key);\ninsert into t values (1)");
    for _ in 0..2 {
        server.run(&database.migrate(&first, "marie@atelier")).expect_ok();
    }
    assert_eq!(server.ask("select count(*) from t"), "1", "the second run passed it over");
    let rows = server.ask("select name, sha256, applied_by from fleet_migrations");
    assert_eq!(rows, format!("001_tables.sql|{}|marie@atelier", first.sha256));
}

#[test]
fn what_fails_in_its_middle_leaves_nothing() {
    let server = Server::start("demo", "demo");
    let database = inside(&server);
    let bad =
        migration("001_bad.sql", "create table half (id int);\ninsert into half values (1);\nselect 1/0;\n");
    let done = server.run(&database.migrate(&bad, "a@b"));
    assert_ne!(done.code, 0);
    assert!(done.stderr.contains("division by zero"), "{done:?}");
    assert_eq!(server.ask("select to_regclass('half') is null"), "t");
    assert_eq!(server.ask("select count(*) from fleet_migrations"), "0");
    let mended = migration("001_bad.sql", "create table half (id int);");
    server.run(&database.migrate(&mended, "a@b")).expect_ok();
    assert_eq!(server.ask("select count(*) from fleet_migrations"), "1");
}

#[test]
fn a_migration_without_a_transaction_may_make_an_index_concurrently() {
    let server = Server::start("demo", "demo");
    let database = inside(&server);
    server.run(&database.migrate(&migration("001.sql", "create table t (id int);"), "a@b")).expect_ok();
    let index = "create index concurrently t_id on t (id);";
    assert_ne!(server.run(&database.migrate(&migration("002.sql", index), "a@b")).code, 0);
    let alone = Migration { transaction: false, ..migration("002.sql", index) };
    server.run(&database.migrate(&alone, "a@b")).expect_ok();
    server.run(&database.migrate(&alone, "a@b")).expect_ok();
    assert_eq!(server.ask("select count(*) from fleet_migrations"), "2");
    assert_eq!(server.ask("select to_regclass('t_id') is not null"), "t");
}

/// psql reads the file, so its own commands work in it. One that ends it before its end, or ends
/// the transaction, must not pass for a migration that was applied.
#[test]
fn a_migration_that_leaves_its_transaction_does_not_pass_for_applied() {
    let server = Server::start("demo", "demo");
    let database = inside(&server);
    for text in [
        "create table a (id int);\n\\quit\ncreate table b (id int);\n",
        "create table a (id int);\n\\q\n",
        "create table a (id int);\nrollback;\n",
        "create table a (id int);\nrollback;\nbegin;\ncreate table b (id int);\n",
        "create table a (id int);\nabort;\n",
    ] {
        let done = server.run(&database.migrate(&migration("001.sql", text), "a@b"));
        assert_ne!(done.code, 0, "{text:?} {done:?}");
        assert!(done.stderr.lines().any(|line| line.starts_with("fleet: ")), "{text:?} {done:?}");
        assert_eq!(server.ask("select count(*) from fleet_migrations"), "0", "{text:?}");
        assert_eq!(
            server.ask("select coalesce(to_regclass('a'), to_regclass('b')) is null"),
            "t",
            "{text:?}"
        );
    }
}

/// As `pg_dump` writes them: an empty search path, another role, data in the file.
#[test]
fn a_migration_in_the_form_of_a_dump_is_recorded() {
    let server = Server::start("demo", "demo");
    let database = inside(&server);
    let dump = "select pg_catalog.set_config('search_path', '', false);\nset role demo;\n\
        create table public.t (id int, v text);\ncopy public.t (id, v) from stdin;\n1\ta;\n2\t\\N\n\\.\n";
    server.run(&database.migrate(&migration("001.sql", dump), "a@b")).expect_ok();
    assert_eq!(server.ask("select count(*) from t"), "2");
    assert_eq!(server.ask("select count(*) from fleet_migrations"), "1");
}

/// Files that begin and commit by themselves are common. They work, and are recorded.
#[test]
fn a_migration_with_a_transaction_of_its_own_is_applied_and_recorded() {
    let server = Server::start("demo", "demo");
    let database = inside(&server);
    let own = migration("001.sql", "begin;\ncreate table a (id int);\ncommit;\n");
    server.run(&database.migrate(&own, "a@b")).expect_ok();
    assert_eq!(server.ask("select to_regclass('a') is not null"), "t");
    assert_eq!(server.ask("select count(*) from fleet_migrations"), "1");
    server.run(&database.migrate(&own, "a@b")).expect_ok();
    assert_eq!(server.ask("select count(*) from fleet_migrations"), "1");
}

#[test]
fn texts_of_any_kind_stay_data() {
    let server = Server::start("demo", "demo");
    let database = inside(&server);
    let texts = [
        ("it's; drop table fleet_migrations; --.sql", "o'neil \"x\" \\ $(id)@host"),
        ("\\! touch x.sql", "\\quit"),
        (":applied.sql", "a :'b' :c"),
        ("été 日本.sql", "é"),
        ("$$ begin.sql", "$1"),
    ];
    for (index, (name, who)) in texts.into_iter().enumerate() {
        let sql = format!(
            "create table t{index} (v text);\n-- it's a comment with a ' and a $$\n\
             insert into t{index} values ('it''s \\ :applied'), ($x$ ' \\quit\n; $x$);\n\
             create function f{index}() returns void language plpgsql as $body$ begin perform 1; end $body$"
        );
        server.run(&database.migrate(&migration(name, &sql), who)).expect_ok();
        let query = "select name || '|' || applied_by from fleet_migrations order by applied_at desc limit 1";
        assert_eq!(server.ask(query), format!("{name}|{who}"));
        assert_eq!(server.ask(&format!("select count(*) from t{index}")), "2");
    }
}

/// Two runs at once (a lease that ran out, an operator without one) apply it once.
#[test]
fn two_at_once_apply_it_once() {
    let server = Server::start("demo", "demo");
    let database = inside(&server);
    server.run(&database.migrate(&migration("000.sql", "create table t (id int);"), "a@b")).expect_ok();
    let slow = migration("001.sql", "insert into t values (1);\nselect pg_sleep(0.5);\n");
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..4).map(|_| scope.spawn(|| server.run(&database.migrate(&slow, "a@b")))).collect();
        for run in runs {
            run.join().unwrap().expect_ok();
        }
    });
    assert_eq!(server.ask("select count(*) from t"), "1");
}

#[test]
fn names_with_quotes_are_names() {
    let server = Server::start("o'neil \"x\" $(id)", "da'ta \"base\" ;");
    let database = database(&server);
    server.run(&database.wait_ready()).expect_ok();
    let migrate = inside(&server).migrate(&migration("001.sql", "create table t (id int);"), "a@b");
    server.run(&migrate).expect_ok();
    assert_eq!(server.ask("select count(*) from fleet_migrations"), "1");
    let password = Secret::new("it's \\ \"quoted\" :applied $x$".to_owned());
    server.run(&database.set_password(&password)).expect_ok();
    assert!(server.logs_in_with(password.reveal()), "the role has the new password");
    assert!(!server.logs_in_with("another"), "and no other");
    assert!(!server.log().contains("quoted"), "the server's log does not hold it");
}

#[test]
fn a_password_that_the_server_refuses_is_not_logged_either() {
    let server = Server::start("demo", "demo");
    let nobody = Database { user: "nobody-here".into(), ..database(&server) };
    let done = server.run(&nobody.set_password(&Secret::new("p0is0n-password".to_owned())));
    assert_ne!(done.code, 0);
    assert!(!format!("{done:?}{}", server.log()).contains("p0is0n"), "{done:?}");
}

#[test]
fn a_database_that_is_not_there_says_so() {
    let server = Server::start("demo", "demo");
    let other = Where::Inside(Database { service: "not-there".into(), ..database(&server) });
    let done = server.run(&other.migrate(&migration("001.sql", "select 1"), "a@b"));
    assert_eq!(done.code, 69);
    assert!(done.stderr.contains("the database container is not running"), "{done:?}");
}

#[test]
fn a_dump_is_kept_when_it_reads_back() {
    let server = Server::start("demo", "demo");
    let database = inside(&server);
    server.run(&database.migrate(&migration("001.sql", "create table t (id int);"), "a@b")).expect_ok();
    for run in ["run-1", "run-2", "run-3", "run-4", "run-5", "run-6", "run-7"] {
        server.run(&database.dump_before(&Layout::new("demo"), run)).expect_ok();
    }
    let kept = server.backups();
    assert_eq!(kept.len(), 5, "{kept:?}");
    assert!(kept.contains(&"before-run-7.dump".to_owned()));
    let nobody = Where::Inside(Database { name: "not-there".into(), ..self::database(&server) });
    assert_ne!(server.run(&nobody.dump_before(&Layout::new("demo"), "run-8")).code, 0);
    assert_eq!(server.backups(), kept, "what failed leaves nothing behind");
}

#[test]
fn a_database_outside_the_stack_is_migrated_and_dumped_by_its_address() {
    let server = Server::start("demo", "demo");
    let database = outside(&server);
    server.run(&database.wait_ready()).expect_ok();
    let question = Question { stack: "demo".into(), database: Some(database.clone()), ..Question::default() };
    let asked =
        || fleet::facts::Facts::parse(server.run(&probe(&question)).stdout.as_bytes()).unwrap().migrations;
    assert_eq!(asked().map(|applied| applied.len()), Some(0), "it answers, and has no record yet");

    let first = migration("001_tables.sql", "create table t (id int primary key);\ninsert into t values (1)");
    for _ in 0..2 {
        server.run(&database.migrate(&first, "marie@atelier")).expect_ok();
    }
    assert_eq!(server.ask("select count(*) from t"), "1", "the second run passed it over");
    assert_eq!(asked().unwrap()["001_tables.sql"], first.sha256);
    let bad = migration("002_bad.sql", "create table half (id int);\nselect 1/0;\n");
    assert!(server.run(&database.migrate(&bad, "a@b")).stderr.contains("division by zero"));
    assert_eq!(server.ask("select to_regclass('half') is null"), "t");

    server.run(&database.dump_before(&Layout::new("demo"), "run-1")).expect_ok();
    assert_eq!(server.backups(), ["before-run-1.dump"]);
}
