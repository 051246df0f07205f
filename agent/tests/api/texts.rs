//! What clients say in words of their own: short and visible, or refused at the door with the field's name.

use super::*;

/// Every field of a body in which a client says something in its own words: path, the rest of the body, the field.
const FIELDS: [(&str, &str, &str); 14] = [
    ("/v1/machines/m1/cordon", "{}", "by"),
    ("/v1/machines/m1/cordon", "{}", "reason"),
    ("/v1/machines/m1/drain", "{}", "by"),
    ("/v1/machines/m1/drain", "{}", "reason"),
    ("/v1/machines/m1/drain", r#"{"dry_run": true}"#, "reason"),
    ("/v1/reboot/lock", "{}", "by"),
    ("/v1/reboot/lock", "{}", "id"),
    ("/v1/reboot/unlock", "{}", "by"),
    ("/v1/reboot/max", r#"{"max": 1}"#, "by"),
    ("/v1/reboot/request", "{}", "by"),
    ("/v1/reboot/request", "{}", "because"),
    ("/v1/reboot/cancel", "{}", "by"),
    ("/v1/reboot/lock", "{}", "group"),
    ("/v1/reboot/request", "{}", "id"),
];

/// What no text may have: another line, a terminal's commands, a turned direction, what cannot be seen.
const HIDDEN: [&str; 9] = [
    "a\nb",
    "a\r",
    "\u{1b}[31m",
    "\u{0}",
    "\u{7f}",
    "\u{9b}2J",
    "\u{2028}",
    "\u{202e}b",
    "\u{feff}",
];

#[tokio::test]
async fn a_text_that_is_too_long_or_hides_something_is_refused_by_the_name_of_its_field() {
    let cluster = cluster().await;
    let before = cluster.registry.revision().await.unwrap();
    for (path, rest, field) in FIELDS {
        let refused_text = async |text: &str| {
            let mut body: Value = serde_json::from_str(rest).unwrap();
            body[field] = json!(text);
            let answer = cluster.send_json(Method::POST, path, &body.to_string()).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {field} {}", answer.text);
            answer.message().to_owned()
        };
        for length in [257, 300, 70_000] {
            let message = refused_text(&"x".repeat(length)).await;
            let expected = format!("unable to decode body: {field}: ");
            assert!(message.starts_with(&expected), "{message}");
            assert!(message.contains(&format!("{length} bytes")), "{path}: {message}");
            let limit = if (path, field) == ("/v1/reboot/request", "id") { "64" } else { "256" };
            assert!(message.contains(limit), "{path}: {message}");
            assert!(message.len() < 500, "{path}: a flood is not sent back: {message}");
        }
        for hidden in HIDDEN {
            let message = refused_text(hidden).await;
            assert!(message.contains(&format!("{field}: ")), "{path}: {message}");
            assert!(!message.chars().any(muster_common::text::is_hidden), "{path}: {message:?}");
        }
    }
    assert_eq!(cluster.registry.revision().await.unwrap(), before, "nothing was written");
}

/// What an answer repeats of a request: names that nobody knows, and values that cannot be read.
#[tokio::test]
async fn an_answer_repeats_nothing_that_hides_and_no_flood() {
    let cluster = cluster().await;
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap();
    for hidden in HIDDEN.iter().map(|text| (*text).to_owned()).chain(["x".repeat(100_000)]) {
        let escaped = |byte: u8| ['%', digit(byte >> 4), digit(byte & 15)];
        let value: String = hidden.bytes().take(4000).flat_map(escaped).collect();
        let mut answers = Vec::new();
        for query in [
            "/v1/reboot/history?group=",
            "/v1/units/a.service/journal?lines=",
            "/v1/units/a.service/journal?output=",
            "/v1/units/a.service/journal?machine=",
            "/v1/machines/m1/drain/events?revision=",
        ] {
            if hidden != "\u{0}" {
                answers.push(cluster.get(&format!("{query}{value}")).await);
            }
        }
        for path in [
            "/v1/units",
            "/v1/wait",
            "/v1/units/destroy",
            "/v1/machines/m1/cordon",
            "/v1/reboot/lock",
        ] {
            let body = json!({ hidden.as_str(): 1 }).to_string();
            answers.push(cluster.send_json(Method::POST, path, &body).await);
        }
        for answer in answers {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
            let message = answer.message();
            assert!(!message.chars().any(muster_common::text::is_hidden), "{message:?}");
            assert!(message.len() < 2000, "{}", message.len());
        }
    }
}

#[tokio::test]
async fn the_longest_text_is_taken() {
    let cluster = cluster().await;
    let (by, reason) = ("é".repeat(128), "x".repeat(256));
    let body = json!({"by": by, "reason": reason}).to_string();
    let answer = cluster.send_json(Method::POST, "/v1/machines/m1/cordon", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.body["cordon"]["holds"]["person"]["by"], by);
    assert_eq!(answer.body["cordon"]["holds"]["person"]["reason"], reason);
}

#[tokio::test]
async fn metadata_is_short_and_visible() {
    let cluster = cluster().await;
    let patch = async |path: &str, value: &str| {
        let body = json!([{"op": "add", "path": path, "value": value}]).to_string();
        cluster.send_json(Method::PATCH, "/fleet/v1/machines", &body).await
    };
    let fine = patch("/m1/metadata/zone", &"x".repeat(256)).await;
    assert_eq!(fine.status, StatusCode::NO_CONTENT, "{}", fine.text);
    for value in HIDDEN.iter().map(|text| (*text).to_owned()).chain(["x".repeat(257)]) {
        let answer = patch("/m1/metadata/zone", &value).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{value:?} {}", answer.text);
        assert!(answer.message().contains("/m1/metadata/zone"), "{}", answer.text);
    }
    let long = format!("/m1/metadata/{}", "k".repeat(129));
    let answer = patch(&long, "v").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    assert!(answer.message().contains("129 bytes, and at most 128"), "{}", answer.text);
    let hidden = patch("/m1/metadata/a\u{202e}b", "v").await;
    assert_eq!(hidden.status, StatusCode::BAD_REQUEST, "{}", hidden.text);
}

/// Whoever came by an id before such ids were refused must not keep the slot for ever.
#[tokio::test]
async fn a_holder_with_a_hidden_character_can_still_be_freed() {
    let cluster = cluster().await;
    let id = "a\u{202e}b";
    let record =
        json!({"schema": 1, "max": 1, "holders": [{"id": id, "kind": "person", "since": 1}]});
    let key = "/muster/v1/reboot/default".to_owned();
    let op = muster_store::Op::Put { key, value: record.to_string().into(), lease: None };
    muster_store::Store::commit(&*cluster.line, vec![], vec![op]).await.unwrap();
    let body = json!({"id": id}).to_string();
    let freed = cluster.send_json(Method::POST, "/v1/reboot/unlock", &body).await;
    assert_eq!(freed.body["freed"]["id"], id, "{}", freed.text);
}

/// A history that an older version filled up, in the store, must not keep a slot from being freed.
#[tokio::test]
async fn a_slot_is_freed_whatever_its_history_is() {
    let cluster = cluster().await;
    let entry =
        |n: usize| json!({"id": "a", "outcome": "unlocked", "by": "x".repeat(10_000), "freed": n});
    let entries: Vec<Value> = (0..100).map(entry).collect();
    for history in
        [json!({"schema": 1, "entries": entries}), json!({"entries": 7}), json!("nonsense")]
    {
        let key = "/muster/v1/reboot-history/default".to_owned();
        let op = muster_store::Op::Put { key, value: history.to_string().into(), lease: None };
        muster_store::Store::commit(&*cluster.line, vec![], vec![op]).await.unwrap();
        let post = async |path: &str| {
            cluster.send_json(Method::POST, path, r#"{"id": "a", "by": "ann"}"#).await
        };
        assert_eq!(post("/v1/reboot/lock").await.status, StatusCode::OK);
        let freed = post("/v1/reboot/unlock").await;
        assert_eq!(freed.status, StatusCode::OK, "{}", freed.text);
        assert_eq!(freed.body["freed"]["id"], "a");
        let history = cluster.get("/v1/reboot/history").await;
        assert_eq!(history.body["entries"][0]["by"], "ann", "{}", history.text);
        assert!(history.text.len() < 256 * 1024, "{}", history.text.len());
    }
}
