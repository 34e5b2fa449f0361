//! What crosses between a room and each platform. The runtime asks here before it makes a call, and
//! the table in `bridges/docs/README.md` is written from here:
//! `SWITCHYARD_WRITE_DOCS=1 cargo test -p bridges capabilities`.

use schemas::room::Platform;

/// Something that a message has or that follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// Bold, italic, strike, code, quotes, lists, links.
    Text,
    /// Cards: blocks and attachments, embeds, Adaptive Cards.
    Cards,
    /// A message says something else now.
    Edits,
    /// A message is taken back.
    Deletions,
    /// A message answers another.
    Replies,
    /// Messages stand in a thread or topic.
    Threads,
    /// Somebody reacts.
    Reactions,
    /// A message is pinned.
    Pins,
    /// Pictures and other files.
    Files,
    /// People who are mentioned are told.
    Mentions,
    /// The author's own name, rather than the bot's.
    AuthorName,
    /// Somebody comes or goes.
    Membership,
    /// The channel has another title or topic.
    Titles,
    /// Somebody is typing.
    Typing,
    /// A call that is repeated after a crash makes no second message.
    SentOnce,
}

impl Ability {
    /// Every one, in the order of the table.
    pub const ALL: [Self; 15] = [
        Self::Text,
        Self::Cards,
        Self::Edits,
        Self::Deletions,
        Self::Replies,
        Self::Threads,
        Self::Reactions,
        Self::Pins,
        Self::Files,
        Self::Mentions,
        Self::AuthorName,
        Self::Membership,
        Self::Titles,
        Self::Typing,
        Self::SentOnce,
    ];

    /// How it is called in the table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Text => "text and its marks",
            Self::Cards => "cards",
            Self::Edits => "edits",
            Self::Deletions => "deletions",
            Self::Replies => "replies",
            Self::Threads => "threads",
            Self::Reactions => "reactions",
            Self::Pins => "pins",
            Self::Files => "files",
            Self::Mentions => "mentions",
            Self::AuthorName => "the author's name",
            Self::Membership => "joins and leaves",
            Self::Titles => "titles and topics",
            Self::Typing => "typing",
            Self::SentOnce => "no doubles after a crash",
        }
    }
}

/// How far something crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Both ways.
    Both,
    /// From the platform only; with the reason.
    In(&'static str),
    /// To the platform only; with the reason.
    Out(&'static str),
    /// In another form than the platform's own.
    As(&'static str),
    /// Not at all; with the reason.
    None(&'static str),
}

impl Support {
    /// Whether anything of it goes to the platform.
    pub fn goes_out(self) -> bool {
        match self {
            Self::Both | Self::Out(_) | Self::As(_) => true,
            Self::In(_) | Self::None(_) => false,
        }
    }
}

/// How far something crosses to and from a platform.
pub fn support(platform: Platform, ability: Ability) -> Support {
    use Ability as A;
    use Platform as P;
    match (ability, platform) {
        (A::Text | A::Edits | A::Replies | A::Mentions, _) => Support::Both,
        (A::Cards, P::Telegram) => Support::As("readable text"),
        (A::Cards, P::Slack | P::Teams | P::Discord) => Support::Both,
        (A::Deletions, P::Telegram) => Support::Out("bots are not told of deletions"),
        (A::Deletions, P::Slack | P::Teams | P::Discord) => Support::Both,
        (A::Threads, P::Slack | P::Teams) => Support::Both,
        (A::Threads, P::Discord | P::Telegram) => {
            Support::As("answers; a thread or topic is a channel of its own")
        }
        (A::Reactions, P::Slack | P::Discord) => Support::Both,
        (A::Reactions, P::Telegram) => Support::As("one of the bot's a message"),
        (A::Reactions, P::Teams) => Support::In("bots cannot react"),
        (A::Pins, P::Slack | P::Discord | P::Telegram) => Support::Both,
        (A::Pins, P::Teams) => Support::None("bots neither pin nor see pins"),
        (A::Files, P::Slack | P::Discord | P::Telegram) => Support::Both,
        (A::Files, P::Teams) => Support::As("pictures that Teams fetches (`bridges.public_url`)"),
        (A::AuthorName, P::Slack) => Support::Both,
        (A::AuthorName, P::Teams | P::Discord | P::Telegram) => Support::As("in front of the text"),
        (A::Membership | A::Titles, _) => Support::As("a message in italics"),
        (A::Typing, P::Teams | P::Discord) => Support::Both,
        (A::Typing, P::Telegram) => Support::Out("bots are not told who is typing"),
        (A::Typing, P::Slack) => Support::None("neither told to apps nor taken from them"),
        (A::SentOnce, P::Discord) => Support::Out("by its nonce"),
        (A::SentOnce, P::Slack) => Support::Out("found by its metadata"),
        (A::SentOnce, P::Teams | P::Telegram) => Support::None("nothing to find a message by"),
    }
}

/// The table, as Markdown.
pub fn table() -> String {
    let cell = |platform| {
        move |ability| match support(platform, ability) {
            Support::Both => "yes".to_owned(),
            Support::In(why) => format!("in only: {why}"),
            Support::Out(why) => format!("out only: {why}"),
            Support::As(form) => format!("as {form}"),
            Support::None(why) => format!("no: {why}"),
        }
    };
    let mut rows = vec![
        format!("| | {} |", Platform::ALL.map(|platform| platform.to_string()).join(" | ")),
        "| --- | --- | --- | --- | --- |".to_owned(),
    ];
    for ability in Ability::ALL {
        let cells = Platform::ALL.map(|platform| cell(platform)(ability));
        rows.push(format!("| {} | {} |", ability.title(), cells.join(" | ")));
    }
    rows.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str =
        "<!-- table: written by `SWITCHYARD_WRITE_DOCS=1 cargo test -p bridges capabilities` -->\n";
    const END: &str = "<!-- end of table -->\n";

    #[test]
    fn the_documents_say_what_the_code_does() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/README.md");
        let held = std::fs::read_to_string(path).unwrap();
        let (before, rest) = held.split_once(BEGIN).expect("the table begins");
        let (_, after) = rest.split_once(END).expect("the table ends");
        let wanted = format!("{before}{BEGIN}\n{}\n{END}{after}", table());
        if std::env::var_os("SWITCHYARD_WRITE_DOCS").is_some() {
            std::fs::write(path, &wanted).unwrap();
            return;
        }
        assert!(held == wanted, "{path} is older than the code");
    }
}
