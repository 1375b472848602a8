// Gradio's client reads all answers from one stream, and closes it when the server says that none is due. Of a question
// that was on its way in that moment nobody would read the answer until something else is asked: here the stream goes on
// for it instead.
(() => {
  const plain = window.fetch;
  // Questions that the server has taken and not answered, and those answered before it was known that they were taken.
  const due = new Set(), early = new Set();
  // Fulfilled when the client has noticed the end of its stream; it opens another for what it asks from then on.
  let closed = null;
  const NOTICE_MS = 2000;

  const taken = async (reply) => {
    if (!reply.ok) return reply;
    const {event_id: event} = await reply.clone().json().catch(() => ({}));
    if (!event) return reply;
    await closed;
    if (!early.delete(event)) due.add(event);
    return reply;
  };

  // What a message says, where that matters here: the end of an answer, or of the stream.
  const ending = (message) => {
    if (!message.includes('process_completed') && !message.includes('close_stream')) return {};
    return JSON.parse(message.replace(/^data:/, ''));
  };

  // Passes messages on up to the end of a stream; gives the one that goes on instead, or null.
  const passOn = async (reader, sink) => {
    const bytes = new TextEncoder(), text = new TextDecoder();
    let rest = '';
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return null;
      const messages = (rest + text.decode(value, {stream: true})).split('\n\n');
      rest = messages.pop();
      for (const message of messages) {
        const {msg, event_id: event} = ending(message);
        if (msg === 'process_completed' && !due.delete(event)) early.add(event);
        if (msg === 'close_stream') {
          const next = due.size ? await sink.again() : null;
          if (next?.ok) return next;
          sink.closing();
        }
        sink.pass(bytes.encode(`${message}\n\n`));
      }
    }
  };

  const followed = async (request) => {
    const again = () => plain(new Request(request));
    const first = await again();
    if (!first.ok) return first;
    let ended = false;
    const closing = () => {
      ended = true;
      due.clear();
      closed = new Promise((noticed) => {
        request.signal.addEventListener('abort', noticed, {once: true});
        setTimeout(noticed, NOTICE_MS);
      });
    };
    let left = false;
    const start = async (controller) => {
      const sink = {again, closing, pass: (chunk) => { if (!left) controller.enqueue(chunk); }};
      let broken = null;
      try {
        for (let reply = first; reply;) reply = await passOn(reply.body.getReader(), sink);
      } catch (error) { broken = request.signal.aborted ? null : error; }
      // Of what a stream that broke off still owed, no other will tell.
      if (!ended) due.clear();
      if (left) return;
      if (broken) controller.error(broken);
      else controller.close();
    };
    const body = new ReadableStream({start, cancel: () => { left = true; }});
    return new Response(body, {status: first.status, headers: first.headers});
  };

  window.fetch = async (input, init) => {
    const {pathname} = new URL(input.url ?? input, location.href);
    if (pathname.endsWith('/queue/join')) return taken(await plain(input, init));
    if (pathname.endsWith('/queue/data')) return followed(new Request(input, init));
    return plain(input, init);
  };
})();
