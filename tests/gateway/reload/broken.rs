//! Files that are broken, missing, or replaced by one that requires no key.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::{EVERY_WAY, KEYS, listeners, never_opens, provider, started, whole};
use crate::harness::spawn_gateway_in;
use crate::upstream::Upstream;

#[tokio::test]
async fn a_file_that_is_emptied_opens_no_door() {
    for (left, says) in [("", "says nothing any more"), ("# nothing\n", "says nothing any more")] {
        let upstream = Upstream::ollama();
        let gateway = started("gateway.toml", &whole(&upstream)).await;
        let file = gateway.config_file();
        never_opens(gateway, file, &EVERY_WAY, says, |file| fs::write(file, left).unwrap()).await;
    }
}

/// Cuts the file in place before these words.
async fn cut_before(words: &str, says: &str) {
    let upstream = Upstream::ollama();
    let text = whole(&upstream);
    let gateway = started("gateway.toml", &text).await;
    let file = gateway.config_file();
    let end = text.find(words).unwrap();
    never_opens(gateway, file, &EVERY_WAY, says, |file| fs::write(file, &text[..end]).unwrap())
        .await;
}

#[tokio::test]
async fn a_file_that_is_cut_off_before_its_keys_opens_no_door() {
    cut_before("[[keys]]", "callers need keys").await;
}

#[tokio::test]
async fn a_file_that_is_cut_off_within_a_key_takes_no_policy_from_it() {
    cut_before("data_policy", "is cut off").await;
}

#[tokio::test]
async fn a_file_that_is_cut_off_within_a_line_is_refused() {
    cut_before("64\n", "is cut off").await;
    cut_before("'x'", "is cut off").await;
}

#[tokio::test]
async fn a_file_that_is_cut_off_before_its_routes_takes_none_of_them() {
    cut_before("[[routes]]", "is cut off").await;
}

#[tokio::test]
async fn a_file_that_is_moved_away_is_not_replaced_by_defaults() {
    let away = |file: &Path| fs::rename(file, file.with_extension("away")).unwrap();
    for (path, arguments, variables) in [
        ("gateway.toml", &["serve", "--config", "gateway.toml"][..], &[][..]),
        ("config/gateway.toml", &["serve"], &[]),
        ("config/gateway.toml", &[], &[]),
        ("other.toml", &["serve"], &[("LLM_GATEWAY_CONFIG", "other.toml")]),
    ] {
        let upstream = Upstream::ollama();
        let folder = TempDir::new().unwrap();
        let file = folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, whole(&upstream)).unwrap();
        let gateway = spawn_gateway_in(folder, arguments, variables).await;
        never_opens(gateway, file, &EVERY_WAY, "cannot be read: No such file", away).await;
    }
}

#[tokio::test]
async fn a_folder_that_is_moved_away_with_its_file_is_not_replaced_by_defaults() {
    let upstream = Upstream::ollama();
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("config")).unwrap();
    let file = folder.path().join("config/gateway.toml");
    fs::write(&file, whole(&upstream)).unwrap();
    let gateway = spawn_gateway_in(folder, &["serve"], &[]).await;
    let again = |file: &Path| {
        let folder = file.parent().unwrap();
        fs::rename(folder, folder.with_extension("away")).unwrap();
        // The file in its place is another one.
        fs::create_dir(folder).unwrap();
        fs::remove_dir_all(folder.with_extension("away")).unwrap();
    };
    never_opens(gateway, file, &EVERY_WAY, "cannot be read: No such file", again).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_or_is_no_text_is_refused() {
    // As root the gateway could read a file of mode 000.
    let folder = |file: &Path| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    };
    let upstream = Upstream::ollama();
    let gateway = started("gateway.toml", &whole(&upstream)).await;
    let file = gateway.config_file();
    never_opens(gateway, file, &EVERY_WAY, "cannot be read: it is not a file", folder).await;
    let gateway = started("gateway.toml", &whole(&upstream)).await;
    let file = gateway.config_file();
    let latin = |file: &Path| fs::write(file, b"[server]\n# caf\xe9\n").unwrap();
    never_opens(gateway, file, &EVERY_WAY, "cannot be read: invalid utf-8", latin).await;
}

/// A gateway whose file is a link to `..data/gateway.toml`, as Kubernetes mounts it; the link is
/// turned to a folder in which `prepare` has put something or nothing.
async fn turned(says: &str, prepare: impl Fn(&Path, &Upstream)) {
    let upstream = Upstream::ollama();
    let folder = TempDir::new().unwrap();
    let root = folder.path().to_owned();
    fs::create_dir(root.join("one")).unwrap();
    fs::write(root.join("one/gateway.toml"), whole(&upstream)).unwrap();
    symlink("one", root.join("..data")).unwrap();
    symlink("..data/gateway.toml", root.join("gateway.toml")).unwrap();
    let gateway = spawn_gateway_in(folder, &["serve", "--config", "gateway.toml"], &[]).await;
    let spoil = |file: &Path| {
        let two = root.join("two");
        fs::create_dir_all(&two).unwrap();
        prepare(&two, &upstream);
        for (target, link) in [("two", "..data"), ("..data/gateway.toml", "gateway.toml")] {
            let draft = root.join("..tmp");
            symlink(target, &draft).unwrap();
            fs::rename(draft, root.join(link)).unwrap();
        }
        assert!(file.is_symlink());
    };
    never_opens(gateway, root.join("gateway.toml"), &EVERY_WAY, says, spoil).await;
}

#[tokio::test]
async fn a_link_that_is_turned_to_nothing_or_to_a_file_without_keys_opens_no_door() {
    turned("cannot be read: No such file", |_, _| {}).await;
    turned("says nothing any more", |folder, _| {
        fs::write(folder.join("gateway.toml"), "").unwrap();
    })
    .await;
    turned("keys: there are none", |folder, upstream| {
        fs::write(folder.join("gateway.toml"), provider(upstream)).unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_file_of_defaults_in_its_place_opens_no_door() {
    let upstream = Upstream::ollama();
    let gateway = started("gateway.toml", &whole(&upstream)).await;
    let file = gateway.config_file();
    let defaults = |file: &Path| {
        fs::copy("config/gateway.toml", file).unwrap();
    };
    never_opens(gateway, file, &EVERY_WAY, "keys: there are none", defaults).await;
}

#[tokio::test]
async fn a_file_without_keys_opens_no_door_whatever_it_says_of_listen() {
    for (listen, says) in [
        ("127.0.0.1:8000", "keys: there are none"),
        ("[::1]:0", "keys: there are none"),
        ("0.0.0.0:0", "server.listen: beyond loopback callers need keys"),
    ] {
        let upstream = Upstream::ollama();
        let text = whole(&upstream);
        let gateway = started("gateway.toml", &text).await;
        let file = gateway.config_file();
        let without = text.replace(KEYS, "").replace(&listeners("0.0.0.0:0"), &listeners(listen));
        never_opens(gateway, file, &EVERY_WAY, says, |file| fs::write(file, &without).unwrap())
            .await;
    }
}
