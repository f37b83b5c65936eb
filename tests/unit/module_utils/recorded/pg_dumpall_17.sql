--
-- PostgreSQL database cluster dump
--

\restrict QnribdwoFPp3HEBwe3vxwH0U8I3NXSSbTAeG5KYvSgrwvrEk37JPChKYsuSn8Gn

SET default_transaction_read_only = off;

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

--
-- Roles
--

CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS;

--
-- User Configurations
--








\unrestrict QnribdwoFPp3HEBwe3vxwH0U8I3NXSSbTAeG5KYvSgrwvrEk37JPChKYsuSn8Gn

--
-- Databases
--

--
-- Database "template1" dump
--

\connect template1

--
-- PostgreSQL database dump
--

\restrict ErtWN7J5bPhgAhn3XIVZNzBCa1JJ5WV2to3xhy7kVffaNLtnqaI4u3gfP39VBkm

-- Dumped from database version 17.11
-- Dumped by pg_dump version 17.11

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
