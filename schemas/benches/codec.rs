//! apache-avro against serde_avro_fast on an outcome with a posted message, in the same run:
//! `cargo bench -p schemas`. Prints the median of several rounds, as nanoseconds a record and as
//! a ratio.

use std::{hint::black_box, time::Instant};

use apache_avro::AvroSchema;
use schemas::content::{Node, from_markdown};
use serde::{Deserialize, Serialize};

const ROUNDS: usize = 15;
const RECORDS: u32 = 4_000;

/// The shape of an outcome, of types whose written form both libraries share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema)]
#[serde(rename_all = "camelCase")]
struct Sample {
    epoch: i64,
    command_offset: i64,
    command_id: String,
    entity: Option<String>,
    by: String,
    seq: i64,
    change: Posted,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema)]
#[serde(rename_all = "camelCase")]
struct Posted {
    message: String,
    author: String,
    text: String,
    content: Vec<Node>,
}

fn sample() -> Sample {
    let text = "**Hello** @bob, see [the plan](https://example.org/plan) and `code` :tada:";
    Sample {
        epoch: 5,
        command_offset: 77,
        command_id: "0190aaaa-0000-7000-8000-000000000000".into(),
        entity: Some("main/room:42".into()),
        by: "user:ada".into(),
        seq: 9,
        change: Posted {
            message: "0190aaaa-0000-7000-8000-000000000000".into(),
            author: "user:ada".into(),
            text: text.into(),
            content: from_markdown(text),
        },
    }
}

/// The median nanoseconds a call over the rounds.
fn measure(mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..RECORDS {
                call();
            }
            started.elapsed().as_nanos() as f64 / f64::from(RECORDS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn main() {
    let sample = sample();
    let schema = Sample::get_schema();
    let fast: serde_avro_fast::Schema =
        serde_json::to_string(&schema).expect("JSON").parse().expect("the same schema");
    let writer =
        apache_avro::writer::datum::GenericDatumWriter::builder(&schema).build().expect("resolves");
    let reader =
        apache_avro::reader::datum::GenericDatumReader::builder(&schema).build().expect("resolves");
    let mut config = serde_avro_fast::ser::SerializerConfig::new(&fast);
    let bytes = writer.write_ser_to_vec(&sample).expect("writable");
    let same = serde_avro_fast::to_datum_vec(&sample, &mut config).expect("writable");
    assert_eq!(bytes, same, "both write the same bytes");

    let apache_write = measure(|| {
        black_box(writer.write_ser_to_vec(black_box(&sample)).expect("writable"));
    });
    let fast_write = measure(|| {
        black_box(
            serde_avro_fast::to_datum_vec(black_box(&sample), &mut config).expect("writable"),
        );
    });
    let apache_read = measure(|| {
        let read: Sample = reader.read_deser(&mut black_box(&bytes[..])).expect("readable");
        black_box(read);
    });
    let fast_read = measure(|| {
        let read: Sample =
            serde_avro_fast::from_datum_slice(black_box(&bytes), &fast).expect("readable");
        black_box(read);
    });
    println!("one record, {} bytes        apache-avro  serde_avro_fast  ratio", bytes.len());
    println!(
        "write                  {apache_write:9.0} ns     {fast_write:9.0} ns   {:.2}",
        apache_write / fast_write
    );
    println!(
        "read                   {apache_read:9.0} ns     {fast_read:9.0} ns   {:.2}",
        apache_read / fast_read
    );
}
