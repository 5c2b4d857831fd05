module cloakroom.example/servers

go 1.26.0
