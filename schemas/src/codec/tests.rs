use apache_avro::Schema;

use super::table::hex;
use super::{table::HEADER, *};
use crate::room::RoomChange;

fn coder(subject: Subject) -> &'static Coder {
    super::table::coders(subject).last().unwrap()
}

#[test]
fn released_schemas_are_those_of_the_types() {
    for subject in Subject::ALL {
        let text = serde_json::to_string_pretty(&subject.schema()).unwrap() + "\n";
        let (folder, name) = (env!("CARGO_MANIFEST_DIR"), subject.name());
        let path = format!("{folder}/avro/{name}.{}.avsc", schemas_of(subject).count());
        if std::env::var_os("SWITCHYARD_WRITE_SCHEMAS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{path}");
    }
}

fn command(kind: Kind, body: serde_json::Value) -> Command {
    Command {
        key: format!("main/{kind}:1").parse().unwrap(),
        id: crate::CommandId::derived("a"),
        tenant: "main".parse().unwrap(),
        principal: "user:ada".parse().unwrap(),
        roles: vec!["admin".into()],
        at: crate::Timestamp::from_millis(1_764_579_600_000),
        expect: Some(3),
        body: crate::json::body_from_value(kind, body).unwrap(),
    }
}

fn sample_commands() -> Vec<Command> {
    use serde_json::json;
    let board = [
        json!({"type":"createBoard","title":"b","columns":[{"title":"x","wip":3}],"eventId":"event:1"}),
        json!({"type":"updateTask","task":"t","title":"n","due":null,"labels":["a"],"priority":"high","estimate":1.5}),
        json!({"type":"addTask","title":"t","after":null,"due":"2026-12-01T09:00:00Z","assignees":["ada"]}),
        json!({"type":"moveTask","task":"t","column":"c","expectColumn":"d"}),
        json!({"type":"setTransitions","rules":[{"from":"todo","to":"done","roles":["owner"]}]}),
        json!({"type":"undo","seq":4}),
    ];
    let event = [
        json!({"type":"createEvent","title":"e","start":"2026-12-01T09:00:00Z","end":"2026-12-01T10:00:00Z","timeZone":"Europe/Berlin","visibility":"private"}),
        json!({"type":"respond","answer":"yes","plusOnes":2}),
        json!({"type":"setReminders","before":["P1D"]}),
        json!({"type":"fireReminders"}),
        json!({"type":"updateEvent","capacity":5,"place":null}),
    ];
    let room = [
        json!({"type":"post","text":"**hi** @bob"}),
        json!({"type":"post","content":[{"type":"paragraph","children":[{"type":"text","text":"x"}]}],"attachments":[{"name":"a","url":"https://e.org/a"}]}),
        json!({"type":"mute","user":"bob","until":"2026-12-01T09:00:00Z"}),
        json!({"type":"setMember","user":"bob","role":"readOnly"}),
        json!({"type":"join"}),
    ];
    let board = board.into_iter().map(|body| command(Kind::Board, body));
    let event = event.into_iter().map(|body| command(Kind::Event, body));
    let room = room.into_iter().map(|body| command(Kind::Room, body));
    board.chain(event).chain(room).collect()
}

fn outcome(verdict: Verdict) -> Outcome {
    Outcome {
        epoch: 4,
        command_offset: 17,
        command_id: crate::CommandId::derived("a"),
        key: Some("main/room:1".parse().unwrap()),
        at: crate::Timestamp::from_millis(5),
        by: "user:ada".parse().unwrap(),
        fingerprint: -9,
        repeats: Some(crate::outcome::Repeat { after: 1, to: 2 }),
        wake_at: Some(crate::Timestamp::from_millis(9)),
        verdict,
    }
}

fn posted(text: &str) -> ChangeBody {
    ChangeBody::Room(RoomChange::MessagePosted {
        message: "m".parse().unwrap(),
        author: "user:ada".into(),
        text: text.into(),
        content: crate::content::from_markdown(text),
        reply_to: None,
        thread: None,
        attachments: Vec::new(),
        origin: None,
    })
}

fn sample_outcomes() -> Vec<Outcome> {
    let change = Change { seq: 2, undoes: None, redoes: Some(1), body: posted("> *a* `b`\n\n- c") };
    vec![
        outcome(Verdict::Accepted { seq: 2, changes: vec![change] }),
        outcome(Verdict::Rejected(Rejection::field("title", "is empty"))),
        outcome(Verdict::Skipped { reason: "poison".into() }),
    ]
}

#[test]
fn commands_survive_both_framings() {
    for command in sample_commands() {
        let kind = command.body.kind();
        let bytes = encode_command(&command).unwrap();
        assert_eq!(decode_command(kind, &bytes).unwrap(), command);
        let framed = to_confluent(&bytes, 7);
        assert_eq!(confluent_id(&framed), Some(7));
        let (fingerprint, _) = schemas_of(Subject::Command(kind)).next().unwrap();
        assert_eq!(fingerprint_of(&bytes), Some(fingerprint));
        assert_eq!(from_confluent(&framed, fingerprint), bytes);
        let record = PartnerRecord { command_id: None, expect: Some(1), body: command.body };
        let bytes = encode_partner(&record).unwrap();
        assert_eq!(decode_partner(kind, &bytes).unwrap(), record);
    }
}

#[test]
fn a_record_is_written_with_the_oldest_schema_that_holds_it() {
    let versions: Vec<_> =
        schemas_of(Subject::Command(Kind::Room)).map(|(fingerprint, _)| fingerprint).collect();
    for plain in sample_commands().iter().filter(|command| command.body.kind() == Kind::Room) {
        let bytes = encode_command(plain).unwrap();
        assert_eq!(fingerprint_of(&bytes), Some(versions[0]), "{plain:?}");
    }
    let origin = serde_json::json!({"platform": "slack", "workspace": "T1", "channel": "C1",
        "message": "1.2", "author": "Ada"});
    let body = serde_json::json!({"type": "relay", "origin": origin, "content": []});
    let bridged = command(Kind::Room, body);
    let bytes = encode_command(&bridged).unwrap();
    assert_eq!(fingerprint_of(&bytes), Some(versions[1]));
    assert_eq!(decode_command(Kind::Room, &bytes).unwrap(), bridged);
    // What the second version has no symbol for.
    let card = serde_json::json!({"type": "post", "content": [{"type": "card", "text": "T"}]});
    let carded = command(Kind::Room, card);
    let bytes = encode_command(&carded).unwrap();
    assert_eq!(fingerprint_of(&bytes), Some(versions[2]));
    assert_eq!(decode_command(Kind::Room, &bytes).unwrap(), carded);
}

#[test]
fn a_learned_schema_is_read_where_it_is_expected() {
    let mut schema = serde_json::to_value(Subject::Partner(Kind::Room).schema()).unwrap();
    schema["fields"].as_array_mut().unwrap().remove(0);
    let subject = Subject::Partner(Kind::Room);
    let fingerprint = learn(subject, &schema.to_string()).unwrap();
    #[derive(serde::Serialize)]
    struct Without {
        at: Option<i64>,
        expect: Option<i64>,
        body: crate::room::RoomCommand,
    }
    let crate::Body::Room(body) = sample_commands().pop().unwrap().body else { panic!("a room") };
    let foreign = Coder::new(subject, Schema::parse(&schema).unwrap());
    let bytes = foreign.encode(&Without { at: None, expect: Some(2), body }).unwrap();
    assert_eq!(fingerprint_of(&bytes), Some(fingerprint));
    assert_eq!(decode_partner(Kind::Room, &bytes).unwrap().expect, Some(2));
    let elsewhere = decode_partner(Kind::Board, &bytes);
    assert!(matches!(elsewhere, Err(CodecError::UnknownFingerprint(_))));
    assert!(matches!(learn(subject, "{"), Err(LearnError::Schema(_))));
    // Today's own is known without being learned.
    for (own, text) in schemas_of(subject) {
        assert_eq!(learn(subject, text).unwrap(), own);
    }
}

#[test]
fn public_changes_hold_every_change() {
    let [accepted, rejected, _] = &sample_outcomes()[..] else { panic!("three") };
    let key = "main/room:1".parse().unwrap();
    let [bytes] = &encode_changes(&key, accepted).unwrap()[..] else { panic!("one change") };
    let public: PublicChange<RoomChange> =
        coder(Subject::Change(Kind::Room)).decode(&bytes[HEADER..]).unwrap();
    assert_eq!((public.seq, public.redoes, public.command_id), (2, Some(1), accepted.command_id));
    assert_eq!(ChangeBody::Room(public.body), posted("> *a* `b`\n\n- c"));
    assert_eq!(encode_changes(&key, rejected).unwrap(), Vec::<Vec<u8>>::new());
}

#[test]
fn outcomes_and_fences_survive() {
    for outcome in sample_outcomes() {
        let bytes = encode_outcome(Kind::Room, &outcome).unwrap();
        let back = decode_outcome(Kind::Room, &bytes).unwrap();
        assert_eq!(back, OutcomeRecord::Outcome(Box::new(outcome)));
    }
    let fence = Fence { owner: "n1/3".into(), at: crate::Timestamp::from_millis(1) };
    let bytes = encode_fence(&fence).unwrap();
    let back = decode_outcome(Kind::Event, &bytes).unwrap();
    assert_eq!(back, OutcomeRecord::Fence(fence));
}

#[test]
fn wire_bytes_do_not_change_unnoticed() {
    let commands: Vec<_> =
        sample_commands().iter().map(|command| hex(&encode_command(command).unwrap())).collect();
    let outcomes: Vec<_> = sample_outcomes()
        .iter()
        .map(|outcome| hex(&encode_outcome(Kind::Room, outcome).unwrap()))
        .collect();
    insta::assert_json_snapshot!("wire_bytes", (commands, outcomes));
}

#[test]
fn what_is_no_record_says_why() {
    let mut good = encode_command(&sample_commands()[0]).unwrap();
    let kind = Kind::Board;
    assert!(matches!(decode_command(kind, b"{}"), Err(CodecError::Framing(_))));
    assert!(matches!(decode_command(kind, b""), Err(CodecError::Framing(_))));
    let unknown = decode_command(kind, &[0, 0, 0, 0, 9, 1]);
    assert!(matches!(unknown, Err(CodecError::UnknownId(9))));
    let wrong = decode_command(Kind::Room, &good);
    assert!(matches!(wrong, Err(CodecError::Unexpected { .. })));
    let cut = decode_command(kind, &good[..good.len() - 1]);
    assert!(matches!(cut, Err(CodecError::Malformed { .. })));
    good.push(0);
    assert!(matches!(decode_command(kind, &good), Err(CodecError::Malformed { .. })));
    good[3] ^= 1;
    assert!(matches!(decode_command(kind, &good), Err(CodecError::UnknownFingerprint(_))));
}

/// A schema of another release: today's with one field more or less.
fn altered(subject: Subject, alter: fn(&mut Vec<serde_json::Value>)) -> Coder {
    let mut schema = serde_json::to_value(subject.schema()).unwrap();
    alter(schema["fields"].as_array_mut().unwrap());
    Coder::new(subject, Schema::parse(&schema).unwrap())
}

#[test]
fn old_writers_and_new_writers_are_read() {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct OldFence {
        owner: &'static str,
        at: i64,
        region: Option<&'static str>,
    }
    let newer = altered(Subject::Fence, |fields| {
        fields.push(
            serde_json::json!({"name": "region", "type": ["null", "string"], "default": null}),
        );
    });
    let bytes = newer.encode(&OldFence { owner: "n", at: 3, region: Some("eu") }).unwrap();
    let fence: Fence = newer.decode(&bytes[HEADER..]).unwrap();
    assert_eq!((fence.owner.as_str(), fence.at.as_millis()), ("n", 3));

    let older = altered(Subject::Outcome(Kind::Room), |fields| {
        fields.retain(|field| field["name"] != "wakeAt" && field["name"] != "repeats");
    });
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct OldOutcome {
        epoch: i64,
        command_offset: i64,
        command_id: crate::CommandId,
        entity: Option<crate::EntityKey>,
        at: crate::Timestamp,
        by: crate::Principal,
        fingerprint: i64,
        result: VerdictWire<RoomChange>,
    }
    let now = outcome(Verdict::Skipped { reason: String::new() });
    let bytes = older
        .encode(&OldOutcome {
            epoch: 1,
            command_offset: 2,
            command_id: now.command_id,
            entity: now.key,
            at: now.at,
            by: now.by,
            fingerprint: 0,
            result: VerdictWire::Skipped { reason: "x".into() },
        })
        .unwrap();
    let read: OutcomeWire<RoomChange> = older.decode(&bytes[HEADER..]).unwrap();
    assert_eq!((read.epoch, read.wake_at, read.repeats), (1, None, None));
}

mod any_bytes {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), which in 0usize..Subject::ALL.len()) {
                    let subject = Subject::ALL[which];
            let framed = [&coder(subject).header[..], &bytes[..]].concat();
            for kind in Kind::ALL {
                for input in [&bytes, &framed] {
                    drop(decode_command(kind, input));
                    drop(decode_outcome(kind, input));
                    drop(decode_partner(kind, input));
                }
            }
        }

        #[test]
        fn mutated_records_never_panic(at in 10usize..400, flip in 1u8..=255, which in 0usize..16) {
            let commands = sample_commands();
            let command = &commands[which % commands.len()];
            let mut bytes = encode_command(command).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            drop(decode_command(command.body.kind(), &bytes));
            bytes.truncate(at);
            prop_assert!(decode_command(command.body.kind(), &bytes).is_err());
        }

        #[test]
        fn any_json_is_a_body_or_a_named_error(text in "[{}\\[\\]\",:a-z0-9.]{0,80}") {
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                for kind in Kind::ALL {
                    if let Err(no) = crate::json::body_from_value(kind, value.clone()) {
                        prop_assert!(!no.reason.is_empty());
                    }
                }
            }
        }
    }
}
