//! The content of a message's part, by the kind of part.

use super::{Document, Image, Part, ToolCall, ToolResult};

impl Part {
    /// The text of a text part.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        let Self::Text(text) = self else { return None };
        Some(text)
    }

    /// The image of an image part.
    #[must_use]
    pub fn as_image(&self) -> Option<&Image> {
        let Self::Image(image) = self else { return None };
        Some(image)
    }

    /// The document of a document part.
    #[must_use]
    pub fn as_document(&self) -> Option<&Document> {
        let Self::Document(document) = self else { return None };
        Some(document)
    }

    /// The call of a tool call part.
    #[must_use]
    pub fn as_tool_call(&self) -> Option<&ToolCall> {
        let Self::ToolCall(call) = self else { return None };
        Some(call)
    }

    /// The result of a tool result part.
    #[must_use]
    pub fn as_tool_result(&self) -> Option<&ToolResult> {
        let Self::ToolResult(result) = self else { return None };
        Some(result)
    }
}
