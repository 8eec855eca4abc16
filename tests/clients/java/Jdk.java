import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The HTTP client of the JDK as it comes: in the clear it asks for HTTP/2 with every request, and keeps its connections.
 *
 * <p>What a reader would get wrong: one client is shared by all threads, as applications do it; a client for each would
 * hide lost requests.
 */
final class Jdk {
  private static final Duration PATIENCE = Duration.ofSeconds(60);
  private static final String CHAT =
      "{\"model\": \"llama3.1\", \"stream\": %s, \"messages\": [{\"role\": \"user\", \"content\": \"turn %d\"}]}";
  private static final String ENDED = "\"finish_reason\":\"stop\"";

  private final HttpClient client = HttpClient.newBuilder().connectTimeout(PATIENCE).build();
  private final String url = System.getenv("GATEWAY_URL");
  private final String key = System.getenv("GATEWAY_KEY");

  public static void main(String[] arguments) throws Exception {
    Jdk jdk = new Jdk();
    Turns.take("whole", jdk::whole);
    Turns.take("streamed", jdk::streamed);
    Turns.take("refused", jdk::refused);
    Turns.take("asked whether to go on", jdk::asked);
    Turns.take("listed", jdk::listed);
  }

  private String whole(int number) throws IOException, InterruptedException {
    return judge(send(chat(false, number).build()), 200, ENDED);
  }

  private String streamed(int number) throws IOException, InterruptedException {
    HttpRequest request = chat(true, number).build();
    HttpResponse<Stream<String>> response = client.send(request, HttpResponse.BodyHandlers.ofLines());
    List<String> lines = response.body().filter(line -> !line.isEmpty()).collect(Collectors.toList());
    boolean hasEnded = !lines.isEmpty() && lines.get(lines.size() - 1).equals("data: [DONE]");
    return response.statusCode() == 200 && hasEnded ? "right" : response.statusCode() + " " + lines;
  }

  /** For a path that there is not, before its body is read. */
  private String refused(int number) throws IOException, InterruptedException {
    HttpRequest request = post("/v1/nowhere", String.format(CHAT, false, number)).build();
    return judge(send(request), 404, "there is no such path");
  }

  /** With a body that waits to be asked for. */
  private String asked(int number) throws IOException, InterruptedException {
    return judge(send(chat(false, number).expectContinue(true).build()), 200, ENDED);
  }

  private String listed(int number) throws IOException, InterruptedException {
    return judge(send(request("/v1/models").GET().build()), 200, "llama3.1");
  }

  private HttpRequest.Builder chat(boolean isStreamed, int number) {
    return post("/v1/chat/completions", String.format(CHAT, isStreamed, number));
  }

  private HttpRequest.Builder post(String path, String body) {
    return request(path)
        .header("Content-Type", "application/json")
        .POST(HttpRequest.BodyPublishers.ofString(body));
  }

  private HttpRequest.Builder request(String path) {
    return HttpRequest.newBuilder(URI.create(url + path)).timeout(PATIENCE).header("Authorization", "Bearer " + key);
  }

  private HttpResponse<String> send(HttpRequest request) throws IOException, InterruptedException {
    return client.send(request, HttpResponse.BodyHandlers.ofString());
  }

  private static String judge(HttpResponse<String> response, int status, String words) {
    boolean isRight = response.statusCode() == status && response.body().contains(words);
    return isRight ? "right" : response.statusCode() + " " + response.body();
  }
}
