"use strict";
const state = document.getElementById("state");
const news = document.getElementById("news");
const stream = new EventSource("/news");

stream.onopen = () => { state.textContent = "Connected."; };
stream.onmessage = (event) => {
  const line = document.createElement("li");
  line.textContent = event.data;
  news.append(line);
};
// What the server says when the session ends. Not to open the stream again is for
// politeness: it would be refused with 401.
stream.addEventListener("ended", () => { signedOut(); });
stream.onerror = () => {
  // The browser tries again by itself, unless it was refused.
  if (stream.readyState === EventSource.CLOSED) signedOut();
  else state.textContent = "The connection is lost. Trying again …";
};

function signedOut() {
  stream.close();
  state.textContent = "You are signed out. Reload to sign in.";
}
