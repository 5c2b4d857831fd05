module cloakroom.example/session

go 1.26
