use super::*;
use proptest::prelude::*;

fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = [7, 1, 9, 200];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

fn decode(bytes: &[u8]) -> Result<Option<Message>, CloseCode> {
    let mut decoder = Decoder::new(1_000);
    decoder.push(bytes);
    decoder.next_message()
}

#[test]
fn what_breaks_the_protocol_is_refused() {
    let cases: [(&str, Vec<u8>, CloseCode); 9] = [
        ("reserved bit", client_frame(0xC1, b"x"), CloseCode::Protocol),
        ("unknown opcode", client_frame(0x83, b"x"), CloseCode::Protocol),
        ("unmasked", vec![0x81, 0x01, b'x'], CloseCode::Protocol),
        ("fragmented ping", client_frame(0x09, b""), CloseCode::Protocol),
        ("long ping", client_frame(0x89, &[0; 126]), CloseCode::Protocol),
        ("continuation of nothing", client_frame(0x80, b"x"), CloseCode::Protocol),
        ("bad text", client_frame(0x81, b"\xff"), CloseCode::Encoding),
        ("bad close code", client_frame(0x88, &1005_u16.to_be_bytes()), CloseCode::Protocol),
        ("too large", client_frame(0x81, &[b'x'; 1_001]), CloseCode::TooLarge),
    ];
    for (what, bytes, code) in cases {
        assert_eq!(decode(&bytes), Err(code), "{what}");
    }
}

#[test]
fn too_large_is_known_from_the_head_alone() {
    let head = &client_frame(0x81, &[0; 70_000])[..10];
    assert_eq!(decode(head), Err(CloseCode::TooLarge));
    let mut decoder = Decoder::new(10);
    decoder.push(&client_frame(0x01, b"123456"));
    decoder.push(&client_frame(0x80, b"123456"));
    assert_eq!(decoder.next_message(), Err(CloseCode::TooLarge));
}

#[test]
fn fragments_are_put_together_around_control_frames() {
    let mut decoder = Decoder::new(100);
    decoder.push(&client_frame(0x01, "grü".as_bytes()));
    decoder.push(&client_frame(0x89, b"p"));
    decoder.push(&client_frame(0x80, "ße".as_bytes()));
    assert_eq!(decoder.next_message(), Ok(Some(Message::Ping("p".into()))));
    assert_eq!(decoder.next_message(), Ok(Some(Message::Text("grüße".into()))));
    assert_eq!(decoder.next_message(), Ok(None));
}

#[test]
fn our_frames_have_the_shortest_head() {
    assert_eq!(&text(b"hi")[..], [0x81, 2, b'h', b'i']);
    assert_eq!(&text(&[0; 126])[..4], [0x81, 126, 0, 126]);
    assert_eq!(&text(&vec![0; 70_000])[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
    assert_eq!(&close(CloseCode::TooSlow, "slow")[..4], [0x88, 6, 0x11, 0x9c]);
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_gives_the_same_messages(
        texts in prop::collection::vec("[a-zß€😀]{0,300}", 1..6),
        cut in 1usize..50,
    ) {
        let stream: Vec<u8> =
            texts.iter().flat_map(|text| client_frame(0x81, text.as_bytes())).collect();
        let mut decoder = Decoder::new(2_000);
        let mut found = Vec::new();
        for piece in stream.chunks(cut) {
            decoder.push(piece);
            while let Some(Message::Text(text)) = decoder.next_message().unwrap() {
                found.push(String::from_utf8(text.to_vec()).unwrap());
            }
        }
        prop_assert_eq!(found, texts);
    }

    #[test]
    fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut decoder = Decoder::new(100);
        decoder.push(&bytes);
        for _ in 0..bytes.len() {
            if !matches!(decoder.next_message(), Ok(Some(_))) {
                break;
            }
        }
    }
}
