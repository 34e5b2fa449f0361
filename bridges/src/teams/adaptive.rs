//! Cards (adaptivecards.io/explorer; learn.microsoft.com, "Types of cards").

use schemas::content::{Node, NodeType, to_markdown};
use serde_json::{Value, json};

use super::html::from_html;
use crate::{
    card::{self, Card, Field, picture},
    message::{foreign_markdown, paragraph},
};

/// How deep elements may stand in each other.
const DEPTH_MOST: usize = 8;

fn unsupported(what: &str) -> Node {
    let text = Some(format!("[{what}]"));
    paragraph(vec![Node { text, ..Node::empty(NodeType::Unsupported) }])
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[key].as_array().into_iter().flatten()
}

/// Reads an Adaptive Card. The first bold text is its title.
pub fn of_adaptive(content: &Value) -> Node {
    let mut blocks = Vec::new();
    for element in list(content, "body") {
        push_element(&mut blocks, element, 0);
    }
    for action in list(content, "actions") {
        blocks.push(of_action(action));
    }
    if blocks.is_empty() {
        blocks.extend(foreign_markdown(text(content, "fallbackText")));
    }
    card::of_blocks(blocks)
}

fn push_element(blocks: &mut Vec<Node>, element: &Value, depth: usize) {
    if depth > DEPTH_MOST {
        return blocks.push(unsupported("deeper parts of a card"));
    }
    match text(element, "type") {
        "TextBlock" => {
            let read = foreign_markdown(text(element, "text"));
            let is_bold = text(element, "weight").eq_ignore_ascii_case("bolder")
                || text(element, "style") == "heading";
            blocks.extend(read.into_iter().map(|block| match block.kind {
                NodeType::Paragraph if is_bold => {
                    paragraph(vec![Node::of(NodeType::Bold, block.children)])
                }
                _other => block,
            }));
        }
        "RichTextBlock" => {
            let runs: Vec<_> = list(element, "inlines").map(of_run).collect();
            blocks.push(paragraph(runs));
        }
        "FactSet" => {
            let field = |fact: &Value| Field {
                name: text(fact, "title").to_owned(),
                value: foreign_markdown(text(fact, "value")),
            };
            let fields = list(element, "facts").map(field).collect();
            blocks.extend(Card { fields, ..Card::default() }.into_node().children);
        }
        "Image" => blocks.push(picture(text(element, "url"), text(element, "altText"))),
        "Media" => {
            for source in list(element, "sources") {
                blocks.push(picture(text(source, "url"), text(element, "altText")));
            }
        }
        "Container" | "Column" | "TableCell" | "Carousel" | "CarouselPage" => {
            for inner in list(element, "items").chain(list(element, "pages")) {
                push_element(blocks, inner, depth + 1);
            }
        }
        "ColumnSet" => {
            for column in list(element, "columns") {
                push_element(blocks, column, depth + 1);
            }
        }
        "ImageSet" => {
            for image in list(element, "images") {
                push_element(blocks, image, depth + 1);
            }
        }
        "Table" | "TableRow" => {
            for inner in list(element, "rows").chain(list(element, "cells")) {
                push_element(blocks, inner, depth + 1);
            }
        }
        "ActionSet" => blocks.extend(list(element, "actions").map(of_action)),
        // A column need not say that it is one.
        "" if element["items"].is_array() => {
            for inner in list(element, "items") {
                push_element(blocks, inner, depth + 1);
            }
        }
        input if input.starts_with("Input.") => {
            let label = [text(element, "label"), text(element, "placeholder"), text(element, "id")];
            let label = label.into_iter().find(|label| !label.is_empty()).unwrap_or_default();
            blocks.push(unsupported(&format!("input {label}")));
        }
        other => blocks.push(unsupported(&format!("card element {other}"))),
    }
}

fn of_run(run: &Value) -> Node {
    let Some(said) = run["text"].as_str().or_else(|| run.as_str()) else {
        return Node { text: Some("[card text]".into()), ..Node::empty(NodeType::Unsupported) };
    };
    let mut node = Node::text(said);
    let is_bold = text(run, "weight").eq_ignore_ascii_case("bolder");
    let marks = [
        (run["underline"] == true, NodeType::Underline),
        (run["strikethrough"] == true, NodeType::Strike),
        (run["italic"] == true, NodeType::Italic),
        (is_bold, NodeType::Bold),
    ];
    for (is_set, kind) in marks {
        if is_set {
            node = Node::of(kind, vec![node]);
        }
    }
    match run["selectAction"]["url"].as_str() {
        Some(url) => Node { url: Some(url.to_owned()), ..Node::of(NodeType::Link, vec![node]) },
        None => node,
    }
}

/// What a click would do: a link leads somewhere from anywhere, the rest is named.
fn of_action(action: &Value) -> Node {
    let title = text(action, "title");
    match (text(action, "type"), action["url"].as_str().or(action["value"].as_str())) {
        ("Action.OpenUrl" | "openUrl", Some(url)) => picture(url, title),
        _other => unsupported(&format!("button {title}")),
    }
}

/// Reads the older cards: hero, thumbnail, receipt, sign-in and the like.
pub(super) fn of_simple(content: &Value) -> Node {
    let mut said = Vec::new();
    for key in ["subtitle", "text"] {
        said.extend(from_html(text(content, key)));
    }
    let fields = list(content, "facts").chain(list(content, "items")).map(|item| {
        let name =
            [text(item, "key"), text(item, "title")].into_iter().find(|name| !name.is_empty());
        let value =
            [text(item, "value"), text(item, "price")].into_iter().find(|value| !value.is_empty());
        let value = from_html(value.unwrap_or_default());
        Field { name: name.unwrap_or_default().to_owned(), value }
    });
    let mut node = Card {
        title: text(content, "title").to_owned(),
        content: said,
        fields: fields.collect(),
        ..Card::default()
    }
    .into_node();
    for image in list(content, "images") {
        node.children.push(picture(text(image, "url"), text(image, "alt")));
    }
    for media in list(content, "media") {
        node.children.push(picture(text(media, "url"), ""));
    }
    node.children.extend(list(content, "buttons").map(of_action));
    node
}

/// Reads a connector card (learn.microsoft.com/outlook/actionable-messages/message-card-reference).
pub(super) fn of_connector(content: &Value) -> Node {
    let title = [text(content, "title"), text(content, "summary")];
    let title = title.into_iter().find(|title| !title.is_empty()).unwrap_or_default();
    let mut said = foreign_markdown(text(content, "text"));
    let mut fields = Vec::new();
    for section in list(content, "sections") {
        for key in ["title", "activityTitle", "activitySubtitle", "activityText", "text"] {
            said.extend(foreign_markdown(text(section, key)));
        }
        fields.extend(list(section, "facts").map(|fact| Field {
            name: text(fact, "name").to_owned(),
            value: foreign_markdown(text(fact, "value")),
        }));
    }
    let mut node =
        Card { title: title.to_owned(), content: said, fields, ..Card::default() }.into_node();
    for action in list(content, "potentialAction") {
        let named = json!({"title": action["name"], "type": "Action.OpenUrl",
            "url": action["targets"][0]["uri"]});
        node.children.push(of_action(&named));
    }
    node
}

/// Writes a card as an Adaptive Card. Text in it is the Markdown of cards, where only bold, italic,
/// lists and links are known.
pub fn to_adaptive(node: &Node) -> Value {
    let mut body = Vec::new();
    if let Some(title) = &node.text {
        let title = Node::text(title);
        let title = match &node.url {
            Some(url) => Node { url: Some(url.clone()), ..Node::of(NodeType::Link, vec![title]) },
            None => title,
        };
        let text = safe(&to_markdown(&[paragraph(vec![title])]));
        body.push(json!({"type": "TextBlock", "text": text, "weight": "Bolder",
            "size": "Medium", "wrap": true}));
    }
    for block in &node.children {
        let text = safe(&to_markdown(std::slice::from_ref(block)));
        body.push(json!({"type": "TextBlock", "text": text, "wrap": true}));
    }
    json!({
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        "body": body,
    })
}

/// Nothing in a card's text may look like a mention, nor like the beginning of one.
fn safe(text: &str) -> String {
    text.replace("<at", "<\u{2060}at")
}

#[cfg(test)]
mod tests {
    use schemas::content::from_markdown;

    use super::*;

    #[test]
    fn a_card_comes_back() {
        let card = Node {
            text: Some("Title".into()),
            url: Some("https://e.org/".into()),
            ..Node::of(NodeType::Card, from_markdown("some **bold** words\n\n- a\n- b"))
        };
        assert_eq!(of_adaptive(&to_adaptive(&card)), card);
    }

    #[test]
    fn what_a_card_has_is_read_or_named() {
        let content = json!({"type": "AdaptiveCard", "body": [
            {"type": "TextBlock", "text": "T", "weight": "bolder"},
            {"type": "ColumnSet", "columns": [{"items": [
                {"type": "FactSet", "facts": [{"title": "n", "value": "v"}]}]}]},
            {"type": "Input.Text", "id": "i"}, {"type": "Of.The.Future"}],
            "actions": [{"type": "Action.OpenUrl", "title": "go", "url": "https://e.org"}]});
        let node = of_adaptive(&content);
        assert_eq!(node.text.as_deref(), Some("T"));
        let expected = "**n**\nv\n\n\\[input i\\]\n\n\\[card element Of.The.Future\\]\n\n[go](<https://e.org>)";
        assert_eq!(to_markdown(&node.children), expected);
    }
}
