"use strict";
const state = document.getElementById("state");
const messages = document.getElementById("messages");
const text = document.getElementById("text");
const ended = 4001; // statusEnded in chat.go
const minute = 60_000;
let socket, noted = 0;

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/chat`);
  socket.onopen = () => { state.textContent = "Connected."; };
  socket.onmessage = (event) => {
    const line = document.createElement("li");
    line.textContent = event.data;
    messages.append(line);
  };
  socket.onclose = async (event) => {
    // A refused handshake gives no reason, so ask whether we are still signed in.
    const out = event.code === ended || (await fetch("/here").catch(() => null))?.status === 401;
    state.textContent = out ? "You are signed out. Reload to sign in." : "The connection is lost. Trying again …";
    if (!out) setTimeout(connect, 2000);
  };
}

document.getElementById("say").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket.readyState !== WebSocket.OPEN || text.value === "") return;
  socket.send(text.value);
  text.value = "";
  if (Date.now() - noted > minute) { // somebody is here: that counts as activity
    noted = Date.now();
    fetch("/here");
  }
});

connect();
