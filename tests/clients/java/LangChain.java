import dev.langchain4j.model.anthropic.AnthropicChatModel;
import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.StreamingChatModel;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.ollama.OllamaChatModel;
import dev.langchain4j.model.ollama.OllamaStreamingChatModel;
import dev.langchain4j.model.openai.OpenAiChatModel;
import dev.langchain4j.model.openai.OpenAiStreamingChatModel;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** LangChain4j, which calls by the HTTP client of the JDK, in three APIs; without retries, which would hide losses. */
final class LangChain {
  private static final String MODEL = "llama3.1";
  private static final int PATIENCE = 60;

  public static void main(String[] arguments) throws Exception {
    String url = System.getenv("GATEWAY_URL");
    String key = System.getenv("GATEWAY_KEY");
    Map<String, String> headers = Map.of("Authorization", "Bearer " + key);
    take("OpenAI, whole", OpenAiChatModel.builder()
        .baseUrl(url + "/v1").apiKey(key).modelName(MODEL).maxRetries(0).build());
    take("OpenAI, streamed", OpenAiStreamingChatModel.builder()
        .baseUrl(url + "/v1").apiKey(key).modelName(MODEL).build());
    take("Ollama, whole", OllamaChatModel.builder()
        .baseUrl(url).customHeaders(headers).modelName(MODEL).maxRetries(0).build());
    take("Ollama, streamed", OllamaStreamingChatModel.builder()
        .baseUrl(url).customHeaders(headers).modelName(MODEL).build());
    take("Anthropic, whole", AnthropicChatModel.builder()
        .baseUrl(url + "/v1").apiKey(key).modelName(MODEL).maxTokens(64).maxRetries(0).build());
    // The threads of the libraries' own clients would keep the process.
    System.exit(0);
  }

  private static void take(String kind, ChatModel model) throws Exception {
    Turns.take(kind, number -> judge(model.chat("turn " + number)));
  }

  private static void take(String kind, StreamingChatModel model) throws Exception {
    Turns.take(kind, number -> {
      CompletableFuture<String> whole = new CompletableFuture<>();
      model.chat("turn " + number, new StreamingChatResponseHandler() {
        @Override
        public void onCompleteResponse(ChatResponse response) {
          whole.complete(response.aiMessage().text());
        }

        @Override
        public void onError(Throwable error) {
          whole.completeExceptionally(error);
        }
      });
      return judge(whole.get(PATIENCE, TimeUnit.SECONDS));
    });
  }

  private static String judge(String text) {
    return text == null || text.isBlank() ? "nothing was said" : "right";
  }
}
