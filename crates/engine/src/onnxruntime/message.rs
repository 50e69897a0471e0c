//! What messages of ONNX Runtime say about nodes.

use shiftwise_graph::Model;

use crate::Unsupported;

/// Nodes that a refusal to load a model is about; empty where the message names none.
pub(super) fn refused_nodes(message: &str, model: &Model) -> Vec<Unsupported> {
    let why = format!("ONNX Runtime: {}", first_line(message));
    let about = |keep: &dyn Fn(&str, &str, &str) -> bool| {
        let nodes = model.graph.nodes().map(|(_, n)| n);
        let found = nodes.filter(|n| keep(&n.name, &n.domain, &n.op_type));
        let entry = |n: &shiftwise_graph::Node| Unsupported {
            node: n.label(),
            op: if n.domain.is_empty() { n.op_type.clone() } else { format!("{}.{}", n.domain, n.op_type) },
            why: why.clone(),
        };
        found.map(entry).collect::<Vec<_>>()
    };
    // "Fatal error: some.domain:Operator(-1) is not a registered function/op"
    if let Some((before, _)) = message.split_once(" is not a registered function/op")
        && let Some((domain, operator)) = before.rsplit(' ').next().and_then(|t| t.split_once(':'))
    {
        let operator = operator.split('(').next().unwrap_or(operator);
        return about(&|_, d, o| d == domain && o == operator);
    }
    // "Could not find an implementation for Operator(13) node with name 'name'"
    if let Some((_, after)) = message.split_once("Could not find an implementation for ") {
        let operator = after.split('(').next().unwrap_or_default();
        let name = quoted(after, "node with name '", "'").unwrap_or_default();
        return about(&|n, _, o| o == operator && n == name);
    }
    // "In Node, ("name", Operator, "domain", -1) : … Error No Op registered for Operator with domain_version of 13"
    if message.contains("No Op registered for ") {
        let operator = quoted(message, "No Op registered for ", " ").unwrap_or_default();
        return about(&|_, _, o| o == operator);
    }
    Vec::new()
}

/// The node during whose computation a run failed, and why it did.
pub(super) fn failed_node(message: &str) -> Option<(String, String)> {
    // "Non-zero status code returned while running Operator node. Name:'name' Status Message: why"
    let operator = quoted(message, "while running ", " node.")?;
    let name = quoted(message, "Name:'", "'").unwrap_or_default();
    let reason = message.split_once("Status Message: ").map_or(message, |(_, reason)| reason);
    Some((format!("{operator} node {name:?}"), first_line(reason).to_owned()))
}

fn quoted<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shiftwise_graph::Builder;

    #[test]
    fn nodes_are_found_by_what_messages_call_them() {
        let model = Builder::new()
            .input("x", &[1])
            .node("Relu", &["x"], &["a"])
            .node("Frobnicate", &["a"], &["b"])
            .node("Frobnicate", &["b"], &["y"])
            .build(&[("y", &[1])], 13);
        let named = |message: &str| -> Vec<String> {
            refused_nodes(message, &model).into_iter().map(|u| u.node).collect()
        };
        let all = ["Frobnicate node \"b\"", "Frobnicate node \"y\""];
        assert_eq!(
            named("Load model failed:Fatal error: :Frobnicate(13) is not a registered function/op"),
            all
        );
        let message = r#"In Node, ("b", Frobnicate, "", -1) : ("a": tensor(float),) -> ("b",) , Error No Op registered for Frobnicate with domain_version of 13"#;
        assert_eq!(named(message), all);
        let message = "Could not find an implementation for Relu(13) node with name 'a'";
        assert_eq!(named(message), ["Relu node \"a\""]);
        assert!(named("Protobuf parsing failed.").is_empty());
    }

    #[test]
    fn a_failed_run_names_its_node() {
        let message = "Non-zero status code returned while running Gather node. Name:'g' Status Message: indices out of bounds\nmore";
        assert_eq!(failed_node(message), Some(("Gather node \"g\"".into(), "indices out of bounds".into())));
        assert_eq!(failed_node("something else"), None);
    }
}
