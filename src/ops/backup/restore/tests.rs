//! Names, roles, and the scripts under this machine's own shell, with its own rsync and find.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use super::exchange::PLACE;
use super::*;

fn database() -> Database {
    Database {
        stack: "geoclic".into(),
        service: "database".into(),
        user: "geo\"clic".into(),
        name: "geoclic".into(),
    }
}

#[test]
fn names_fit_and_lead_back_to_their_run() {
    let names = Names::of("geoclic", "20261120-101500-3fcab1");
    assert_eq!(names.filling, "geoclic_restoring");
    assert_eq!(names.before, "geoclic_before_20261120_101500_3fcab1");
    assert_eq!(Names::run_of(&names.before), Some("20261120_101500_3fcab1"));
    let long = Names::of(&"é".repeat(40), "20261120-101500-3fcab1");
    assert!(long.filling.len() <= 63 && long.before.len() <= 63, "{long:?}");
    assert_eq!(Names::run_of(&long.before), Some("20261120_101500_3fcab1"));
    // What the host's own script left, and what is no leftover at all.
    for other in ["geoclic_before_1795161600", "geoclic_restoring", "geoclic", "x_before_20261120_1_ab12"] {
        assert_eq!(Names::run_of(other), None, "{other}");
    }
}

#[test]
fn roles_are_names_and_hashes_and_nothing_else_of_what_came() {
    let sql = r#"\restrict abc
SET default_transaction_read_only = off;
CREATE ROLE geoclic;
ALTER ROLE geoclic WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS PASSWORD 'SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy';
CREATE ROLE "it's ""odd""";
ALTER ROLE "it's ""odd""" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE evil; DROP DATABASE geoclic;
CREATE ROLE sly;
ALTER ROLE sly WITH LOGIN PASSWORD 'x''; DROP DATABASE geoclic; --';
\! touch /tmp/pwned
CREATE ROLE pg_mine;
ALTER ROLE unknown WITH LOGIN;
"#;
    let roles = roles_of(sql);
    let names: Vec<(&str, bool)> = roles.iter().map(|role| (role.name.as_str(), role.login)).collect();
    assert_eq!(names, [("geoclic", true), ("it's \"odd\"", false), ("sly", true)]);
    assert!(roles[0].password.as_deref().is_some_and(|hash| hash.starts_with("SCRAM-SHA-256$4096:")));
    assert_eq!((&roles[1].password, &roles[2].password), (&None, &None), "what is no hash is no password");

    let cmd = make_database(&database(), &Names::of("geoclic", "r"), &roles);
    let sql = String::from_utf8(cmd.input().bytes().to_vec()).unwrap();
    assert!(!cmd.line().contains("SCRAM") && matches!(cmd.input(), Stdin::Secret(_)));
    assert!(sql.contains(r#"'create role "it''s ""odd""" nologin'"#), "{sql}");
    assert!(!sql.to_lowercase().contains("superuser") && !sql.contains("pwned"), "{sql}");
    assert!(
        sql.contains(r#"create database "geoclic_restoring" with owner "geo""clic" template template0"#),
        "{sql}"
    );
}

#[test]
fn a_table_name_of_the_snapshot_stays_data() {
    let rows = [Rows { table: "a'); drop table x; -- $fleet$".into(), rows: 3, bytes: 0 }];
    let cmd = count(&database(), &Names::of("geoclic", "r"), &rows);
    let sql = String::from_utf8(cmd.input().bytes().to_vec()).unwrap();
    assert!(sql.contains("('a''); drop table x; -- ', 3)"), "{sql}");
    assert_eq!(sql.matches("$fleet$").count(), 2, "{sql}");
}

#[test]
fn every_script_parses_with_and_without_a_database() {
    let layout = Layout::new("geoclic");
    let (database, names) = (database(), Names::of("geoclic", "20261120-101500-3fcab1"));
    let folders =
        [Folder::Volume("photos".into()), Folder::Path("/srv/it's".into()), Folder::Path("data".into())];
    let mut all = vec![load(&database, &names, true), load(&database, &names, false)];
    all.push(make_database(&database, &names, &[]));
    all.push(count(&database, &names, &[]));
    all.extend(folders.iter().map(|folder| receive(&layout, folder, "20261120-101500-3fcab1")));
    for (database, fresh) in
        [(Some((&database, &names)), false), (Some((&database, &names)), true), (None, false)]
    {
        let exchange =
            Exchange { layout: &layout, run: "20261120-101500-3fcab1", database, folders: &folders, fresh };
        all.extend([exchange.swap(), exchange.back(), exchange.clean(&["old".into()], &["r1".into()])]);
    }
    for cmd in all {
        let [_, _, text] = cmd.words() else { panic!("{}", cmd.line()) };
        let output = Command::new("dash").args(["-n", "-c", text]).output().unwrap();
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(cmd.limit().is_some());
    }
}

fn place(root: &Path, from: &Path, aside: Option<&Path>) -> (bool, String) {
    let text = format!("set -eu\nexport LC_ALL=C\n{PLACE}place \"$1\" \"$2\" \"$3\"");
    let aside = aside.map_or(String::new(), |path| path.display().to_string());
    let output = Command::new("dash")
        .args(["-c", &text, "sh", root.to_str().unwrap(), from.to_str().unwrap(), &aside])
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|_| "gone".to_owned())
}

#[test]
fn files_change_places_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let [root, new, before] = ["root", "new", "before"].map(|name| dir.path().join(name));
    write(&root.join("été/a b"), "old", 0o600);
    write(&root.join("été/only here"), "stays", 0o644);
    write(&root.join("top"), "old top", 0o644);
    symlink("/etc", root.join("link")).unwrap();
    std::fs::set_permissions(root.join("été"), std::fs::Permissions::from_mode(0o2770)).unwrap();
    write(&new.join("été/a b"), "new", 0o640);
    write(&new.join("été/line\nbreak/deep"), "deep", 0o644);
    write(&new.join("-rf"), "dash", 0o644);
    symlink("elsewhere", new.join("link")).unwrap();
    std::fs::set_permissions(new.join("été"), std::fs::Permissions::from_mode(0o711)).unwrap();
    std::fs::create_dir(&before).unwrap();

    assert_eq!(place(&root, &new, Some(&before)), (true, String::new()));
    assert_eq!(
        (read(&root.join("été/a b")), read(&root.join("été/line\nbreak/deep"))),
        ("new".into(), "deep".into())
    );
    assert_eq!((read(&root.join("été/only here")), read(&root.join("-rf"))), ("stays".into(), "dash".into()));
    assert_eq!(std::fs::read_link(root.join("link")).unwrap(), Path::new("elsewhere"));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&root.join("été")), mode(&root.join("été/a b"))), (0o711, 0o640));
    assert_eq!(read(&before.join("été/a b")), "old");
    assert!(!before.join("top").exists(), "what is not replaced is not kept aside");

    assert_eq!(place(&root, &before, None), (true, String::new()));
    assert_eq!((read(&root.join("été/a b")), mode(&root.join("été"))), ("old".into(), 0o2770));
    assert_eq!(std::fs::read_link(root.join("link")).unwrap(), Path::new("/etc"));
}

/// Put aside by a second name and then never replaced: the way back finds the same file in both places.
#[test]
fn the_way_back_from_half_a_change_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let [root, before] = ["root", "before"].map(|name| dir.path().join(name));
    write(&root.join("a/x"), "old", 0o644);
    std::fs::create_dir_all(before.join("a")).unwrap();
    std::fs::hard_link(root.join("a/x"), before.join("a/x")).unwrap();
    assert_eq!(place(&root, &before, None), (true, String::new()));
    assert_eq!(read(&root.join("a/x")), "old");
}

#[test]
fn nothing_leaves_its_folder_by_a_link_and_nothing_is_moved_when_something_is_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let [root, new, out] = ["root", "new", "out"].map(|name| dir.path().join(name));
    std::fs::create_dir_all(&out).unwrap();
    write(&root.join("a"), "a", 0o644);
    symlink(&out, root.join("photos")).unwrap();
    write(&new.join("photos/passwd"), "evil", 0o644);
    write(&new.join("a"), "new", 0o644);
    let (done, said) = place(&root, &new, None);
    assert!(
        !done && said.contains("fleet: ./photos is a folder in the snapshot and something else there"),
        "{said}"
    );
    assert!(!out.join("passwd").exists());
    assert_eq!(read(&root.join("a")), "a");

    std::fs::remove_file(root.join("photos")).unwrap();
    std::fs::create_dir_all(root.join("photos/passwd")).unwrap();
    let (done, said) = place(&root, &new, None);
    assert!(
        !done && said.contains("fleet: ./photos/passwd is a file in the snapshot and a folder there"),
        "{said}"
    );
    assert_eq!(read(&root.join("a")), "a");
}
