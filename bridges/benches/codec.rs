//! Parse and render of a message with everything in it, for each platform: `cargo bench -p bridges`.
//! Prints the median and the 99th percentile of single calls, in microseconds.

use std::{hint::black_box, time::Instant};

use bridges::{
    Inbound,
    codec::{Outgoing, parse, render},
    message::NoNames,
    simulator::channel,
};
use schemas::room::Platform;
use serde_json::{Value, json};

const CALLS: usize = 20_000;

fn payload(platform: Platform) -> Value {
    match platform {
        Platform::Slack => json!({"type": "event_callback", "team_id": "T", "event_id": "Ev",
            "event": {"type": "message", "channel": "C1", "user": "U1", "ts": "1.2", "thread_ts": "1.1",
                "text": "*Hello* <@U2>, see <https://example.org/plan|the plan> and `code` :tada:\n```\nlet a = 1;\n```"}}),
        Platform::Teams => {
            json!({"type": "message", "id": "1", "timestamp": "t", "channelId": "msteams",
            "from": {"id": "29:1", "name": "Eve"}, "conversation": {"id": "19:c@thread.tacv2"},
            "textFormat": "xml", "text": "<p><b>Hello</b> <at>Bob</at>, see \
                <a href=\"https://example.org/plan\">the plan</a> and <code>code</code></p><pre>let a = 1;</pre>",
            "entities": [{"type": "mention", "text": "<at>Bob</at>", "mentioned": {"id": "29:2", "name": "Bob"}}]})
        }
        Platform::Discord => json!({"op": 0, "t": "MESSAGE_CREATE", "s": 1, "d": {"id": "9",
            "channel_id": "5", "guild_id": "1", "type": 0, "author": {"id": "2", "username": "eve"},
            "mentions": [{"id": "3", "username": "bob"}],
            "content": "**Hello** <@3>, see [the plan](https://example.org/plan) and `code` <:tada:7>\n```rs\nlet a = 1;\n```"}}),
        Platform::Telegram => json!({"update_id": 1, "message": {"message_id": 5, "date": 1,
            "chat": {"id": -100, "type": "supergroup"}, "from": {"id": 2, "is_bot": false, "first_name": "Eve"},
            "text": "Hello Bob, see the plan and code 🎉\nlet a = 1;", "entities": [
                {"type": "bold", "offset": 0, "length": 5},
                {"type": "text_link", "offset": 15, "length": 8, "url": "https://example.org/plan"},
                {"type": "code", "offset": 28, "length": 4},
                {"type": "pre", "offset": 36, "length": 10}]}}),
    }
}

/// Median and 99th percentile, in microseconds.
fn measured(mut once: impl FnMut()) -> (f64, f64) {
    let mut took: Vec<_> = (0..CALLS)
        .map(|_| {
            let started = Instant::now();
            once();
            started.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    took.sort_by(f64::total_cmp);
    (took[CALLS / 2], took[CALLS * 99 / 100])
}

fn main() {
    println!("{:<10} {:>22} {:>22}", "", "parse p50/p99 (µs)", "render p50/p99 (µs)");
    for platform in Platform::ALL {
        let bytes = payload(platform).to_string();
        let read = || parse(platform, black_box(bytes.as_bytes()), &NoNames);
        let Some(Inbound::Posted(said)) =
            read().ok().and_then(|read| read.inbound.into_iter().next())
        else {
            panic!("{platform}: the sample is no message");
        };
        let message = Outgoing {
            author: Some("Eve".to_owned()),
            content: said.content,
            channel: channel(platform).to_owned(),
            id: "m".to_owned(),
            ..Outgoing::default()
        };
        let parsing = measured(|| drop(black_box(read())));
        let rendering =
            measured(|| drop(black_box(render(platform, black_box(&message), &NoNames))));
        let shown = |(p50, p99): (f64, f64)| format!("{p50:.1} / {p99:.1}");
        println!("{platform:<10} {:>22} {:>22}", shown(parsing), shown(rendering));
    }
}
