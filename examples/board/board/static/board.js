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
