// What is nicer with a script. Every page works without it.

const file = document.querySelector("#picture");
const preview = document.querySelector(".preview");

file?.addEventListener("change", () => {
  const [picture] = file.files;
  if (!picture) return;
  if (preview.src.startsWith("blob:")) URL.revokeObjectURL(preview.src);
  preview.src = URL.createObjectURL(picture);
  preview.hidden = false;
  const remove = document.querySelector("[name=remove_picture]");
  if (remove) remove.checked = false;
});

// A form is sent once, however often its button is pressed.
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}

// Back from the browser's memory, a form may be sent again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// A post that is open: comments as they come, how many read it, who is typing.

const live = document.querySelector("#live");
if (live) {
  const presence = document.querySelector("#presence");
  const readers = document.querySelector("#readers");
  const typing = document.querySelector("#typing");
  const title = document.querySelector("#comments-title");
  const address = new URL(live.dataset.live, location);
  address.protocol = address.protocol.replace("http", "ws");
  let socket;
  let pause = 1000; // milliseconds until the next try; longer each time
  let forget;
  let told = 0;

  const count = () => {
    const many = live.children.length;
    title.textContent = many === 0 ? "No comments yet" : many === 1 ? "One comment" : `${many} comments`;
  };
  const says = {
    comment({ id, html }) {
      if (document.querySelector(`#comment-${id}`)) return;
      live.insertAdjacentHTML("beforeend", html);
      typing.textContent = "";
      count();
    },
    gone({ id }) {
      document.querySelector(`#comment-${id}`)?.remove();
      count();
    },
    readers({ count: many }) {
      readers.textContent = `${many} reading`;
      presence.hidden = false;
    },
    typing({ who }) {
      if (who === live.dataset.me) return;
      typing.textContent = `${who} is typing …`;
      clearTimeout(forget);
      forget = setTimeout(() => (typing.textContent = ""), 4000);
    },
  };
  const connect = () => {
    socket = new WebSocket(address);
    socket.onopen = () => (pause = 1000);
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      says[message.kind]?.(message);
    };
    socket.onclose = () => {
      presence.hidden = true;
      setTimeout(connect, pause * (0.5 + Math.random()));
      pause = Math.min(pause * 2, 30000);
    };
  };
  connect();
  document.querySelector(".comments textarea")?.addEventListener("input", () => {
    const now = Date.now();
    if (now - told < 2000 || socket.readyState !== WebSocket.OPEN) return;
    told = now;
    socket.send(JSON.stringify({ kind: "typing" }));
  });
}

// The front page: what is new since it was opened.

const news = document.querySelector("#news");
if (news) {
  const stream = new EventSource(news.dataset.activity);
  stream.onmessage = ({ data }) => {
    const { kind, author, title, page } = JSON.parse(data);
    const link = document.createElement("a");
    link.href = page;
    link.textContent = title;
    const line = document.createElement("li");
    line.append(`${author} ${kind === "post" ? "wrote" : "commented on"} `, link);
    news.prepend(line);
    while (news.children.length > 5) news.lastChild.remove();
    news.hidden = false;
  };
  addEventListener("pagehide", () => stream.close());
}
